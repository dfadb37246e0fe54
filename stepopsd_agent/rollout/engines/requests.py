"""Rows whose responses an engine draws, each as a request of its own: a decoder that does not keep step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.engines.base import Draw, Engine
from stepopsd_agent.rollout.engines.errors import EngineError
from stepopsd_agent.rollout.sampling import SamplingParams, Stops


@dataclass
class _Row:
    """One sequence: what it holds, and the response that is being drawn."""

    ids: list[int] = field(default_factory=list)
    number: int | None = None  # of the running request
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    drawn: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Requests:
    """As `Decoder`, but a response is handed back as soon as it has ended, whatever the other rows do.

    Whole rows are sent: the engine finds the part that it has read before in its prefix cache. The noise of a
    token belongs to its place, so it does not matter in how many requests a response comes.
    """

    def __init__(self, engine: Engine, policy: Policy, slots: int, params: SamplingParams) -> None:
        """Start ``slots`` empty rows; a response ends as one of `Decoder` does."""
        self.engine, self.params, self.stops = engine, params, Stops(policy, params.stop)
        self._stop_ids = sorted(policy.stop_ids)
        self._rows = [_Row() for _ in range(slots)]
        self._numbers = count()

    def lengths(self) -> list[int]:
        """Tokens of each row so far; those of a running response do not count."""
        return [len(row.ids) for row in self._rows]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, renumbered in this order."""
        self._rows = [self._rows[place] for place in rows]

    def restart(self, row: int) -> None:
        """Forget what a row holds; its next prompt begins a new sequence."""
        self._rows[row] = _Row()

    def respond(self, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled | None]:
        """Add a prompt to each row that has no running response, and begin its response; wait for one.

        Args:
            prompts: new ids per row, at least one each; not read for a row with a running response.
            uniforms: [B, max_tokens] sampling noise, likewise.

        Returns:
            The responses that have ended, at least one; None for the others, which go on.
        """
        for row, new, noise in zip(self._rows, prompts, uniforms, strict=True):
            if row.number is None:
                row.ids += new
                row.noise, row.drawn, row.logprobs = noise, [], []
                self._ask(row)
        ended: list[Sampled | None] = [None] * len(self._rows)
        running = {row.number: place for place, row in enumerate(self._rows)}
        while not any(ended):
            for number, more in self.engine.finished().items():
                place = running.pop(number)
                row = self._rows[place]
                ended[place] = self._ended(row, more)
                if ended[place] is None:
                    running[self._ask(row)] = place
        return ended

    def _ask(self, row: _Row) -> int:
        row.number = next(self._numbers)
        draw = Draw(row.noise[len(row.drawn) :], self.params, self._stop_ids)
        self.engine.ask(row.number, [*row.ids, *row.drawn], draw)
        return row.number

    def _ended(self, row: _Row, more: Sampled) -> Sampled | None:
        """The row's response with what the engine has drawn of it; None if it goes on."""
        if not more.ids:
            raise EngineError(
                "the engine drew no token and gave no reason; look into its log, and begin again there, or "
                "set rollout.backend to builtin"
            )
        for token, logprob in zip(more.ids, more.logprobs, strict=True):
            row.drawn.append(token)
            row.logprobs.append(min(logprob, 0.0))
            if self.stops.after(row.drawn) or len(row.drawn) == len(row.noise):
                row.ids += row.drawn
                row.number = None
                return Sampled(tuple(row.drawn), tuple(row.logprobs))
        return None
