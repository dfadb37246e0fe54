"""Environments in which nothing can be played once they are closed."""

import gymnasium as gym
from gymnasium.error import ClosedEnvironmentError


class ClosableEnv(gym.Env[str, str]):
    """Remembers that it was closed.

    Gymnasium leaves open what a closed environment does. One that played on would hold again what closing
    has released, such as a retriever, and nobody would release it a second time.
    """

    _closed = False

    def close(self) -> None:
        """Close the environment: ``reset``, ``step`` and ``restore`` raise from now on. Again: nothing."""
        self._closed = True
        super().close()

    def _require_open(self) -> None:
        """Refuse to play.

        Raises:
            ClosedEnvironmentError: the environment was closed.
        """
        if self._closed:
            raise ClosedEnvironmentError("the environment is closed: make another one to play in")
