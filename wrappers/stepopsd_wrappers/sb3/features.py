"""The state of an episode as numbers: its texts, the commands given, and each admissible command."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepopsd_wrappers.sb3.encoders import Encoder, Vectors

DECAY = 0.9
"""Decay of the trace of commands per step."""


def length(size: int, candidates: int) -> int:
    """Length of the vector that `EpisodeFeatures.vector` returns."""
    return 3 * size + candidates * (2 * size + 1)


def candidates_of(length: int, size: int) -> int:
    """Number of candidates in a vector of this length."""
    return (length - 3 * size) // (2 * size + 1)


class EpisodeFeatures:
    """Features of an episode so far, from its texts alone, with texts encoded as vectors.

    The vector is: the latest observation, the goal and a decaying trace of the commands given; then all
    candidate commands; then the observation that followed each of them when it was last given in this episode
    (zeros if it was not); then the logarithm of 1 + the number of times it was given.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Begin without an episode."""
        self.encoder = encoder

    def reset(self, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode."""
        self._observation, self._goal = observation, str(info["goal"])
        self._trace = np.zeros(self.encoder.size, dtype=np.float32)
        self._answers: dict[str, str] = {}
        self._given: Counter[str] = Counter()

    def step(self, command: str, observation: str) -> None:
        """Add a command and the observation after it."""
        self._observation = observation
        self._trace = DECAY * self._trace + self.encoder([command])[0]
        self._answers[command] = observation
        self._given[command] += 1

    def vector(self, commands: Sequence[str], candidates: int) -> Vectors:
        """[length(size, candidates)] the features, for these commands.

        Args:
            commands: the admissible ones; beyond their end the list repeats.
            candidates: number of candidates in the vector.
        """
        size, count = self.encoder.size, len(commands)
        answered = [(i, self._answers[c]) for i, c in enumerate(commands) if c in self._answers]
        texts = [self._observation, self._goal, *commands, *(answer for _, answer in answered)]
        encoded = self.encoder(texts)
        rows = np.zeros((2, max(1, count), size), dtype=np.float32)
        rows[0, :count] = encoded[2 : 2 + count]
        rows[1, [i for i, _ in answered]] = encoded[2 + count :]
        given = np.log1p([self._given[command] for command in commands] or [0])
        again = np.arange(candidates) % max(1, count)
        parts = [
            encoded[0],
            encoded[1],
            self._trace,
            rows[0, again].ravel(),
            rows[1, again].ravel(),
            given[again],
        ]
        return np.concatenate(parts, dtype=np.float32)
