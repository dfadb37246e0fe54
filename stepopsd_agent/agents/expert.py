"""The exploring expert as an agent: it reads only the texts that any agent is shown."""

from typing import Any

import numpy as np

from stepopsd_envs.alfworld.expert import ExploringExpert


class ExpertAgent:
    """Plays by ``ExploringExpert``; wants raw observations (no history wrapper needed)."""

    def __init__(self, mistake_rate: float = 0.0) -> None:
        """Args: mistake_rate: share of commands replaced by a mistake."""
        self.mistake_rate = mistake_rate
        self._command = ""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Read the first observation."""
        self._expert = ExploringExpert(np.random.default_rng(seed), self.mistake_rate)
        self._expert.reset(observation)
        self._command = ""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Learn what the last command did, then choose the next."""
        if self._command:
            self._expert.see(self._command, observation)
        self._command = self._expert.act()
        return self._command
