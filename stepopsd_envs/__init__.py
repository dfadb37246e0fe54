"""Gymnasium text environments that mark the start and end of each agent step in ``info["step"]``.

Importing this package only registers the ids of the environments; nothing heavy is imported.
"""

import gymnasium as gym

from stepopsd_envs.vector_info import unbatch_info

__all__ = ["unbatch_info"]

# Without the passive checker: where the first reset of an environment is refused, as for a mistyped task, it
# raises at the first step of the episode after it. `stepopsd_envs.testing` checks more, and once for all.
gym.register(
    id="stepopsd/ALFWorld-v0",
    entry_point="stepopsd_envs.alfworld.env:AlfworldEnv",
    vector_entry_point="stepopsd_envs.alfworld.vector:AlfworldVectorEnv",
    disable_env_checker=True,
)
gym.register(
    id="stepopsd/SearchQA-v0",
    entry_point="stepopsd_envs.search_qa.env:SearchQAEnv",
    vector_entry_point="stepopsd_envs.search_qa.vector:SearchQAVectorEnv",
    disable_env_checker=True,
)
