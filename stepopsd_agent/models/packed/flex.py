"""Attention over packs in one FlexAttention call over a block-sparse mask, for CUDA."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from stepopsd_agent.models.packed.packing import Piece, longest_sight

BLOCK = 128
"""Edge of FlexAttention's blocks."""


class Flex:
    """One FlexAttention call over the blocks in which some token sees another."""

    def __init__(self, pieces: Sequence[Piece], device: torch.device) -> None:
        """Find the blocks."""
        self.calls, self.longest = 0, longest_sight(pieces)
        self.mask = block_mask(pieces, device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """See `Plan`."""
        call = flex_attention if query.device.type == "cpu" else _compiled()
        out: Tensor = call(query, key, value, block_mask=self.mask, scale=scale, enable_gqa=True)
        return out


@cache
def _compiled() -> Any:
    """FlexAttention is fast only when compiled; once per process."""
    return torch.compile(flex_attention, dynamic=True)


def intervals(pieces: Sequence[Piece]) -> tuple[Tensor, Tensor, Tensor]:
    """Three times [T]: token i sees keys from its piece's start to i, and the trunk's [begin, end)."""
    lengths = torch.tensor([p.length for p in pieces])
    starts = lengths.cumsum(0) - lengths
    begin = torch.tensor([0 if p.parent is None else int(starts[p.parent]) for p in pieces])
    end = begin + torch.tensor([p.sight for p in pieces])
    start, begin, end = (x.repeat_interleave(lengths) for x in (starts, begin, end))
    return start, begin, end


def block_mask(pieces: Sequence[Piece], device: torch.device) -> BlockMask:
    """FlexAttention's mask of a pack, made from its pieces without a [T, T] tensor."""
    start, begin, end = (x.to(device) for x in intervals(pieces))
    size = len(start)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        itself = (key >= start[query]) & (key <= query)
        return itself | ((key >= begin[query]) & (key < end[query]))

    # By how many queries of a block a key is seen: each query adds one over its two intervals.
    count = -(-size // BLOCK)
    query = torch.arange(size, device=device)
    row = query // BLOCK
    change = torch.zeros(count, count * BLOCK + 1, dtype=torch.int32, device=device)
    ones = torch.ones(size, dtype=torch.int32, device=device)
    for places, sign in ((start, 1), (query + 1, -1), (begin, 1), (end, -1)):
        change.index_put_((row, places), sign * ones, accumulate=True)
    seen = change.cumsum(1)[:, :-1].view(count, count, BLOCK).sum(2)  # pairs per block
    full, some = seen == BLOCK * BLOCK, seen > 0
    return BlockMask.from_kv_blocks(
        *_listed(some & ~full), *_listed(full), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(size, size)
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many True stand in each row [1, 1, R], and their columns first [1, 1, R, C]."""
    order = torch.sort(blocks.int(), dim=1, descending=True, stable=True).indices
    return blocks.sum(1, dtype=torch.int32)[None, None], order.int()[None, None]
