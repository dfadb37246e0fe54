"""Continuous batched decoding, with a key-value cache that lives as long as the episodes.

Sampling noise belongs to (seed, task, member, turn, position), never to the batch, so the same attempt draws
the same tokens whatever its neighbours or the number of slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import RowCache, common
from stepopsd_agent.rollout.sampling import SamplingParams, Stops, choose

HANDOVER = 0.5
"""Responses are handed over once this share of the rows waits: fewer calls, and searches that go together."""


@dataclass(frozen=True)
class Sampled:
    """One response: ids as sampled, and their log-probabilities (nats) in the distribution drawn from."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass
class _Row:
    """What a row has still to read, and the response that is being drawn."""

    unread: list[int] = field(default_factory=list)
    begins: bool = True  # with what is unread; the cache may still hold what came before
    runs: bool = False  # its response is being drawn
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Decoder:
    """A key-value cache with one row per slot, grown turn by turn.

    A row takes its next prompt while others draw: all new tokens of all rows, of prompts and of responses, go
    through the network as one sequence, in which none is padded.
    """

    def __init__(self, policy: Policy, slots: int, params: SamplingParams) -> None:
        """Start ``slots`` empty rows; a response ends at a stop token, a stop string or ``max_tokens``."""
        self.policy, self.params, self.stops = policy, params, Stops(policy, params.stop)
        self.cache = RowCache(slots)
        self._rows = [_Row() for _ in range(slots)]

    def lengths(self) -> list[int]:
        """Tokens of each row so far, those not yet in the cache included."""
        rows = zip(self.cache.held, self._rows, strict=True)
        return [len(row.unread) + (0 if row.begins else len(held)) for held, row in rows]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these: nothing more is generated for the others."""
        self._rows = [self._rows[row] for row in rows]
        self.cache.keep(rows)

    def restart(self, row: int) -> None:
        """Forget what a row holds; its next prompt begins a new sequence."""
        self._rows[row] = _Row()

    @torch.inference_mode()
    def respond(self, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled | None]:
        """Add a prompt to each row without a running response, and draw until enough responses have ended.

        Args:
            prompts: new ids per row, at least one each; not read for a row with a running response.
            uniforms: [B, max_tokens] sampling noise, likewise.

        Returns:
            The responses that have ended, of `HANDOVER` of the rows; None for the others, which go on.
        """
        for row, new, noise in zip(self._rows, prompts, uniforms, strict=True):
            if not row.runs:
                row.unread = [*row.unread, *new]
                row.runs, row.noise, row.ids, row.logprobs = True, noise, [], []
        ended: dict[int, Sampled] = {}
        while len(ended) < HANDOVER * len(self._rows):
            for place in self._advance():
                row = self._rows[place]
                if len(row.ids) == self.params.max_tokens or self.stops.after(row.ids):
                    ended[place], row.runs = Sampled(tuple(row.ids), tuple(row.logprobs)), False
        return [ended.get(place) for place in range(len(self._rows))]

    def _advance(self) -> list[int]:
        """Read once, and draw a token for each row that has no more to read; return these rows.

        A pass that does not fit into memory leaves no trace in the cache and is repeated in halves.
        """
        while True:
            new = self._next_pass()
            try:
                logits = self.policy.next_logits(new, self.cache)
                break
            except RuntimeError as error:
                self.policy.play.halve_pass(error, sum(map(len, new.values())), len(new))
        for place, ids in new.items():
            self._rows[place].unread = self._rows[place].unread[len(ids) :]
        ready = [place for place in new if not self._rows[place].unread]
        if not ready:
            return []
        if len(ready) < len(new):
            logits = logits[[number for number, place in enumerate(new) if not self._rows[place].unread]]
        rows = [self._rows[place] for place in ready]
        noise = torch.tensor([row.noise[len(row.ids)] for row in rows], dtype=torch.float64)
        chosen, logprobs = choose(logits, noise.to(self.policy.device), self.params)
        for row, token, logprob in zip(rows, chosen.tolist(), logprobs.tolist(), strict=True):
            row.unread = [token]
            row.ids.append(token)
            row.logprobs.append(min(logprob, 0.0))
        return ready

    def _next_pass(self) -> dict[int, list[int]]:
        """New ids for rows to read: of responses first, then of prompts while there is room.

        A row that begins copies what another one holds of its prompt, and waits for what another one is
        about to read of it, if that is most of it.
        """
        running = [(place, row) for place, row in enumerate(self._rows) if row.runs]
        new = {place: row.unread for place, row in running if row.ids}
        room, begun = self.policy.play.tokens - len(new), list[list[int]]()
        for place, row in running:
            if row.ids or room <= 0:
                continue
            if row.begins:
                source, count = self._holder(place, row.unread)
                if any(2 * common(ids, row.unread[:-1]) > count + len(row.unread) for ids in begun):
                    continue
                begun.append(row.unread)
                self.cache.begin(place, source, count)
                row.unread, row.begins = row.unread[count:], False
            new[place] = row.unread[:room]
            room -= len(new[place])
        return new

    def _holder(self, place: int, prompt: list[int]) -> tuple[int, int]:
        """The row that holds most of the beginning of a prompt, and how many ids; never all of it."""
        source, most, wanted = place, 0, prompt[:-1]
        for other in (place, *range(len(self._rows))):  # itself first: nothing is copied then
            held = self.cache.held[other]
            if most < len(wanted) and held[: most + 1] == wanted[: most + 1]:
                source, most = other, common(held, wanted)
        return source, most
