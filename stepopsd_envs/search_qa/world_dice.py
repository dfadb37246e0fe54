"""Random choices for the synthetic worlds, reproducible on every machine and version of Python and NumPy."""

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A generator seeded by a text; it uses only ``Random.random``, whose values Python keeps stable."""

    def __init__(self, key: str) -> None:
        seed = blake2b(key.encode("utf-8"), digest_size=16).digest()
        self._random = random.Random(int.from_bytes(seed, "little")).random

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def number(self, low: int, high: int) -> int:
        """Draw an integer from ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Draw one of the options, uniformly."""
        return options[int(self._random() * len(options))]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """Return the things in random order."""
        order = list(things)
        for last in range(len(order) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order
