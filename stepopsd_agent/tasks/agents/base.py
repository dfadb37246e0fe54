"""The protocol of an agent that can be played, recorded and evaluated."""

from typing import Any, Protocol


class Agent(Protocol):
    """Plays one episode at a time. Plug in your own by writing these two methods."""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode with its first observation and info."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Answer the latest observation with an action."""
        ...
