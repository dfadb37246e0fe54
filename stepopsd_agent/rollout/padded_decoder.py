"""Decoding with padded rows, for models whose layers attend in a way of their own; see `decoder`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import CACHE_ROOM
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.sampling import SamplingParams, Stops, choose

OPEN_COLUMNS = 32
"""Places of a cache whose holes are left open."""
FILLED_SHARE = 0.7
"""Share of the cache that the longest row fills at least before a turn, or its holes are closed."""


class _CacheLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values [B, H, K, D] of a layer: views of buffers with room, so few tokens cause a copy."""

    buffers: tuple[Tensor, ...] = ()

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values; return all there are."""
        new, before = (key_states, value_states), self.get_seq_length()
        end = before + key_states.shape[2]
        if not self.buffers or end > self.buffers[0].shape[2]:
            self.buffers = tuple(x.new_empty(*x.shape[:2], end + CACHE_ROOM, x.shape[3]) for x in new)
            if self.keys is not None and self.values is not None:
                for buffer, held in zip(self.buffers, (self.keys, self.values), strict=True):
                    buffer[:, :, :before] = held
        for buffer, added in zip(self.buffers, new, strict=True):
            buffer[:, :, before:end] = added
        self.is_initialized, self.dtype, self.device = True, key_states.dtype, key_states.device
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values


class KeyValueCache(DynamicCache):
    """The keys and values of all layers."""

    def __init__(self) -> None:
        """Begin without rows."""
        super().__init__()
        self.layer_class_to_replicate = _CacheLayer

    def change(self, how: Callable[[Tensor], Tensor]) -> None:
        """Replace the keys and the values [B, H, K, D] of every layer by what ``how`` makes of them."""
        layers: list[Any] = list(self.layers)
        for layer in (layer for layer in layers if layer.keys is not None):
            layer.keys, layer.values, layer.buffers = how(layer.keys), how(layer.values), ()


class PaddedDecoder:
    """As `Decoder`, but rows are padded to the longest, and read until the last response has ended.

    Rows have holes where a neighbour's turn was longer; a hole is never attended to and positions count real
    tokens only, so every row computes what it would compute alone.
    """

    def __init__(self, policy: Policy, slots: int, params: SamplingParams) -> None:
        """Start ``slots`` empty rows; a response ends at a stop token, a stop string or ``max_tokens``."""
        self.policy, self.params, self.stops = policy, params, Stops(policy, params.stop)
        self.cache = KeyValueCache()
        # (B, L) True where a key is real
        self.valid = torch.zeros(slots, 0, dtype=torch.bool, device=policy.device)
        self.pending: list[list[int]] = [[] for _ in range(slots)]  # sampled last, not yet in the cache

    def lengths(self) -> list[int]:
        """Tokens of each row so far, those not yet in the cache included."""
        return [int(n) + len(p) for n, p in zip(self.valid.sum(1), self.pending, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these: nothing more is generated for the others."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.policy.device)
        self.valid = self.valid[index]
        self.pending = [self.pending[i] for i in rows]
        self.cache.change(lambda held: held[index])

    def restart(self, row: int) -> None:
        """Forget what a row holds; its next prompt begins a new sequence."""
        self.valid = self.valid.clone()
        self.valid[row] = False
        self.pending[row] = []

    @torch.inference_mode()
    def respond(self, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled]:
        """Add one prompt to each row and sample a response to each.

        Args:
            prompts: new ids per row, at least one each.
            uniforms: [B, max_tokens] sampling noise.
        """
        self._close_holes()
        fed = [[*p, *new] for p, new in zip(self.pending, prompts, strict=True)]
        width = max(map(len, fed))
        ids = torch.full((len(fed), width), self.policy.pad_id, dtype=torch.long)
        real = torch.zeros(len(fed), width, dtype=torch.bool)
        for i, row in enumerate(fed):  # padded on the left, so the last column is every row's last token
            ids[i, width - len(row) :] = torch.tensor(row)
            real[i, width - len(row) :] = True
        logits = self._prefill(ids.to(self.policy.device), real.to(self.policy.device))
        return self._sample(logits, torch.from_numpy(uniforms).to(self.policy.device))

    def _prefill(self, ids: Tensor, real: Tensor) -> Tensor:
        """Run [B, Q] new tokens in passes of bounded size; return the logits after the last column.

        A pass that does not fit into memory leaves no trace in the cache and is repeated in halves.
        """
        limits, (rows, width) = self.policy.play, ids.shape
        while True:
            size = min(max(1, limits.tokens // rows), width)
            try:
                logits = self._extend(ids[:, :size], real[:, :size], last=size == width)
            except RuntimeError as error:
                whole = self.valid.shape[1]
                self.cache.change(lambda held: held[:, :, :whole])  # noqa: B023
                limits.halve_pass(error, rows * size, rows)
                continue
            if size == width:
                return logits
            ids, real, width = ids[:, size:], real[:, size:], width - size

    def _sample(self, logits: Tensor, uniforms: Tensor) -> list[Sampled]:
        out: list[tuple[list[int], list[float]]] = [([], []) for _ in self.pending]
        alive = [True] * len(out)
        for position in range(self.params.max_tokens):
            ids, logprobs = choose(logits, uniforms[:, position], self.params)
            for i, (token, logprob) in enumerate(zip(ids.tolist(), logprobs.tolist(), strict=True)):
                if alive[i]:
                    out[i][0].append(token)
                    out[i][1].append(min(logprob, 0.0))
                    alive[i] = not self.stops.after(out[i][0])
            if not any(alive) or position == self.params.max_tokens - 1:
                break
            logits = self._extend(ids[:, None], torch.tensor(alive, device=ids.device)[:, None])
        self.pending = [[row[-1]] for row, _ in out]
        return [Sampled(tuple(ids), tuple(logprobs)) for ids, logprobs in out]

    def _extend(self, ids: Tensor, real: Tensor, *, last: bool = True) -> Tensor:
        """Run [B, Q] new tokens (``real`` False: a hole); return the last column's logits, or its states."""
        start = self.valid.sum(1, keepdim=True)
        positions = (start + real.long().cumsum(1) - 1).clamp_min(0)
        width = ids.shape[1]
        every = torch.ones(width, width, dtype=torch.bool, device=ids.device)
        visible = every.tril() & real[:, None, :]  # (B, Q, Q)
        visible |= torch.eye(width, dtype=torch.bool, device=ids.device)  # a hole sees itself, for softmax
        past = self.valid[:, None, :].expand(-1, width, -1)
        mask = torch.cat([past, visible], dim=2)[:, None]  # (B, 1, Q, L + Q)
        run = self.policy.padded_logits if last else self.policy.read
        out = run(ids, positions, mask, self.cache)
        self.valid = torch.cat([self.valid, real], dim=1)
        return out

    def _close_holes(self) -> None:
        """Move the keys together once three in ten places are holes or forgotten past."""
        longest, width = int(self.valid.sum(1).max()), self.valid.shape[1]
        if width <= OPEN_COLUMNS or longest > FILLED_SHARE * width:
            return
        real_first = torch.sort(self.valid.int(), dim=1, descending=True, stable=True).indices
        order = real_first[:, :longest]
        at = order[:, None, :, None]
        self.cache.change(lambda held: held.gather(2, at.expand(-1, held.shape[1], -1, held.shape[3])))
        self.valid = self.valid.gather(1, order)
