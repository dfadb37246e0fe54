"""The oracle as an agent: optimal play, the ceiling of every table. It sees what no other agent is shown."""

from typing import Any

import gymnasium as gym

from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.search_qa.env import SearchQAEnv


class OracleAgent:
    """Plays the plan of the environment's oracle, from whatever state it finds there."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        """Args: env: the environment that is going to be played, wrapped or not."""
        if not isinstance(env.unwrapped, (AlfworldEnv, SearchQAEnv)):
            raise ValueError(
                f"the oracle agent needs an ALFWorld or a Search-QA environment, got {env}; use another agent"
            )
        self._env = env.unwrapped

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Nothing to remember."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """The next action of the plan; ``look`` when the game cannot be won any more."""
        plan = self._env.oracle.plan()
        return plan[0] if plan else "look"
