"""What an engine does: it draws responses, each on its own, with the weights it was last given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.sampling import SamplingParams


@dataclass(frozen=True, eq=False)
class Draw:
    """How the tokens of one response are drawn.

    Attributes:
        uniforms: [n] noise in [0, 1), float64, one for every token that may be drawn.
        params: temperature and cuts, and the strings that end a response.
        stop_ids: tokens that end it.
    """

    uniforms: np.ndarray
    params: SamplingParams
    stop_ids: Sequence[int]


class Engine(Protocol):
    """Draws responses; several are in the works at once, and the finished ones do not wait for the others.

    A response may be longer or shorter than the strings that end it ask for: `Requests` cuts it, or asks on.
    """

    def load(self, policy: Policy) -> None:
        """Take the policy's present weights; what was computed with earlier ones is forgotten."""

    def ask(self, number: int, ids: Sequence[int], draw: Draw) -> None:
        """Begin to draw what follows these ids, under a number that no other running response has."""

    def finished(self) -> dict[int, Sampled]:
        """Responses that have ended since, by number; waits for one at least."""
        ...

    def rest(self) -> None:
        """Drop the running responses, and free the memory that only drawing needs."""

    def close(self) -> None:
        """Free everything."""
