"""Experts: they read only the texts that any agent is shown, and demonstrate what to do with them."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from stepopsd_envs.alfworld.expert import ExploringExpert
from stepopsd_wrappers import Episode


class Expert(Protocol):
    """Plays one episode, and names the action it would take at every state. It knows only what it read."""

    def reset(self, observation: str, info: dict[str, Any]) -> None:
        """Forget everything and read the first observation."""

    def learn(self, peer: Episode) -> None:
        """Read a successful attempt at the same task."""

    def act(self) -> str:
        """Return the next action, as the environment takes it; a mistake now and then, if it makes any."""
        ...

    def thought(self) -> str:
        """Return its reasoning before the next action, made from the texts it has read."""
        ...

    def see(self, action: str, observation: str, info: dict[str, Any]) -> None:
        """Read what ``action`` answered."""


MakeExpert = Callable[[np.random.Generator, float], Expert]
"""From the generator that draws the mistakes, and their rate."""


class AlfworldExpert:
    """``ExploringExpert`` in the role of an ``Expert``."""

    def __init__(self, rng: np.random.Generator, mistake_rate: float = 0.0) -> None:
        self._expert = ExploringExpert(rng, mistake_rate)

    def reset(self, observation: str, info: dict[str, Any]) -> None:
        """Forget everything and read the first observation."""
        self._expert.reset(observation)

    def learn(self, peer: Episode) -> None:
        """Take over where things lay."""
        self._expert.learn([(step.action, step.observation) for step in peer.steps[1:]])

    def act(self) -> str:
        """Return the next command."""
        return self._expert.act()

    def thought(self) -> str:
        """Return the object held and the next object or place to find."""
        return self._expert.thought()

    def see(self, action: str, observation: str, info: dict[str, Any]) -> None:
        """Read what ``action`` answered."""
        self._expert.see(action, observation)


class ExpertAgent:
    """Plays by an expert; wants raw observations (no history wrapper needed)."""

    def __init__(self, mistake_rate: float = 0.0, make: MakeExpert = AlfworldExpert) -> None:
        """Make the agent.

        Args:
            mistake_rate: share of actions replaced by a mistake.
            make: makes the expert of each episode; it has to fit the environment.
        """
        self.mistake_rate = mistake_rate
        self._make = make
        self._action: str | None = None  # the last; None before the first

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Read the first observation."""
        self._expert = self._make(np.random.default_rng(seed), self.mistake_rate)
        self._expert.reset(observation, info)
        self._action = None

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Learn what the last action did, then choose the next."""
        if self._action is not None:
            self._expert.see(self._action, observation, info)
        self._action = self._expert.act()
        return self._action
