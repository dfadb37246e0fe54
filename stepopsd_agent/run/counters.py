"""What a run has consumed: tokens and environment steps, and the seconds of each part of an update."""

import time
from dataclasses import dataclass


@dataclass
class Counters:
    """What a run has consumed; goes into the summary.

    Attributes:
        env_steps: environment interactions.
        generated: tokens sampled.
        scored: tokens that passes without gradient processed: teacher, reference, old policy and the like.
        trained: tokens processed by the update.
        wasted: tokens sampled in groups that were left out: for an error, or since their returns are equal.
        errors: episodes that ended in an error.
    """

    env_steps: int = 0
    generated: int = 0
    scored: int = 0
    trained: int = 0
    wasted: int = 0
    errors: int = 0


class Clock:
    """Seconds between laps; kept out of the metrics so that equal runs write equal files."""

    def __init__(self) -> None:
        """Start."""
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under ``name``."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now
