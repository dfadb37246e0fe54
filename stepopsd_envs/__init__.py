"""Gymnasium text environments that mark the start and end of each agent step in ``info["step"]``.

Importing this package only registers the ids of the environments; nothing heavy is imported.
"""

import gymnasium as gym

from stepopsd_envs.vector_info import unbatch_info

__all__ = ["unbatch_info"]

gym.register(
    id="stepopsd/ALFWorld-v0",
    entry_point="stepopsd_envs.alfworld.env:AlfworldEnv",
    vector_entry_point="stepopsd_envs.alfworld.vector:AlfworldVectorEnv",
)
gym.register(
    id="stepopsd/SearchQA-v0",
    entry_point="stepopsd_envs.search_qa.env:SearchQAEnv",
    vector_entry_point="stepopsd_envs.search_qa.vector:SearchQAVectorEnv",
)
