"""The protocol of an agent that can be played, recorded and evaluated."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym


@runtime_checkable
class Agent(Protocol):
    """Plays one episode at a time. Plug in your own by writing these two methods.

    One that raises ends its episode, which is recorded with the error; the next episode begins as usual.
    """

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode with its first observation and info."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Answer the latest observation with an action."""
        ...


MakeAgent = Callable[[gym.Env[str, str]], Agent]
"""Makes an agent for the environment that it is going to play."""
