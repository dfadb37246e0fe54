"""The vector environment of ALFWorld games in one process."""

from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.text_vector import TextVectorEnv


class AlfworldVectorEnv(TextVectorEnv):
    """Games in parallel."""

    env_type = AlfworldEnv
