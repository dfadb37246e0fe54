"""Batched decoding, with a key-value cache that lives as long as the episodes.

Sampling noise belongs to (seed, task, member, turn, position), never to the batch, so the same attempt draws
the same tokens whatever its neighbours or the number of slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout.sampling import SamplingParams, Stops, choose


@dataclass(frozen=True)
class Sampled:
    """One response: ids as sampled, and their log-probabilities (nats) in the distribution drawn from."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Decoder:
    """A key-value cache with one row per slot, grown turn by turn.

    All new tokens of all rows that are read go through the network as one sequence: none is padded, and a
    row whose response has ended costs nothing until the others' have.
    """

    def __init__(self, policy: Policy, slots: int, params: SamplingParams) -> None:
        """Start ``slots`` empty rows; a response ends at a stop token, a stop string or ``max_tokens``."""
        self.policy, self.params, self.stops = policy, params, Stops(policy, params.stop)
        self.cache = RowCache(slots)
        self.pending: list[list[int]] = [[] for _ in range(slots)]  # sampled last, not yet in the cache

    def lengths(self) -> list[int]:
        """Tokens of each row so far, those not yet in the cache included."""
        return [size + len(last) for size, last in zip(self.cache.lengths, self.pending, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these: nothing more is generated for the others."""
        self.pending = [self.pending[row] for row in rows]
        self.cache.keep(rows)

    def restart(self, row: int) -> None:
        """Forget what a row holds; its next prompt begins a new sequence."""
        self.cache.lengths[row], self.pending[row] = 0, []

    @torch.inference_mode()
    def respond(self, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled]:
        """Add one prompt to each row and sample a response to each.

        Args:
            prompts: new ids per row, at least one each.
            uniforms: [B, max_tokens] sampling noise.
        """
        fed = [[*last, *new] for last, new in zip(self.pending, prompts, strict=True)]
        logits = self._read_prompts(fed)
        drawn: list[tuple[list[int], list[float]]] = [([], []) for _ in fed]
        going, noise = list(range(len(fed))), torch.from_numpy(uniforms).to(self.policy.device)
        for position in range(self.params.max_tokens):
            ids, logprobs = choose(logits, noise[going, position], self.params)
            for row, token, logprob in zip(going, ids.tolist(), logprobs.tolist(), strict=True):
                drawn[row][0].append(token)
                drawn[row][1].append(min(logprob, 0.0))
            going = [row for row in going if not self.stops.after(drawn[row][0])]
            if not going or position == self.params.max_tokens - 1:
                break
            logits = self.policy.next_logits({row: drawn[row][0][-1:] for row in going}, self.cache)
        self.pending = [ids[-1:] for ids, _ in drawn]
        return [Sampled(tuple(ids), tuple(logprobs)) for ids, logprobs in drawn]

    def _read_prompts(self, fed: Sequence[Sequence[int]]) -> Tensor:
        """Read new tokens of every row in passes of bounded size; return the logits [B, V] after the last.

        A pass that does not fit into memory leaves no trace in the cache and is repeated in halves.
        """
        limits, logits = self.policy.play, dict[int, Tensor]()
        left = dict(enumerate(fed))
        while left:
            room, new = limits.tokens, dict[int, Sequence[int]]()
            for row, ids in left.items():
                if room > 0:
                    new[row] = ids[:room]
                    room -= len(new[row])
            try:
                logits |= zip(new, self.policy.next_logits(new, self.cache), strict=True)
            except RuntimeError as error:
                limits.halve_pass(error, sum(map(len, new.values())), len(new))
                continue
            left = {row: ids[len(new.get(row, ())) :] for row, ids in left.items()}
            left = {row: ids for row, ids in left.items() if ids}
        return torch.stack([logits[row] for row in range(len(fed))])
