"""Gymnasium text environments that say in ``info["step"]`` where each agent step begins and ends.

Importing this package registers the environments' ids and imports nothing heavy.
"""

import gymnasium as gym

from stepopsd_envs.vector_info import unbatch_info

__all__ = ["unbatch_info"]

gym.register(
    id="stepopsd/ALFWorld-v0",
    entry_point="stepopsd_envs.alfworld.env:AlfworldEnv",
    vector_entry_point="stepopsd_envs.alfworld.vector:AlfworldVectorEnv",
)
gym.register(id="stepopsd/SearchQA-v0", entry_point="stepopsd_envs.search_qa.env:SearchQAEnv")
