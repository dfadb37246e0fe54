"""The oracle as an agent: optimal play, the ceiling of every table. It sees what no other agent is shown."""

from typing import Any

import gymnasium as gym

from stepopsd_envs.alfworld.env import AlfworldEnv


class OracleAgent:
    """Plays a shortest plan in the environment it is given, from whatever state it finds there."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        """Args: env: the environment that is going to be played, wrapped or not."""
        if not isinstance(env.unwrapped, AlfworldEnv):
            raise ValueError(f"the oracle agent needs an ALFWorld environment, got {env}; use another agent")
        self._env = env.unwrapped

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Nothing to remember."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """The next command of a shortest plan; ``look`` when the game cannot be won any more."""
        plan = self._env.oracle.plan()
        return plan[0] if plan else "look"
