"""The random agent: the floor of every table."""

from typing import Any

import numpy as np


class RandomAgent:
    """Draws uniformly from the admissible commands."""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Start the episode's own generator."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """One admissible command."""
        commands = info["admissible_commands"]
        return str(commands[self._rng.integers(len(commands))])
