"""Attention over packs (see `packing`), as a function that transformers calls in place of its default.

Two ways that give the same numbers. "segments" calls PyTorch's scaled dot-product attention once per row and
once per handful of short branches, so that no mask grows with the pack and no work is spent on tokens that do
not see each other; it has a backward pass everywhere. "flex" is one FlexAttention call over a block-sparse
mask, for CUDA; on CPU it has no backward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from stepopsd_agent.models.packed.packing import Pack, Piece

NAME = "stepopsd"
"""The name of `attend` in transformers; ``set_attn_implementation`` selects it for a model."""
GROUP = 96
"""Branches of one trunk share an attention call up to this many tokens: fewer calls, larger masks."""
BLOCK = 128
"""Edge of FlexAttention's blocks."""


class Plan(Protocol):
    """How the tokens of one pack see each other."""

    calls: int
    """Layers that have used it; none, where a model does not hand it on to its layers."""
    longest: int
    """The most tokens that any token sees, itself among them: a window as long cuts nothing."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """[1, H, T, D] outputs of queries [1, H, T, D] over keys and values [1, H', T, D]."""
        ...


def make_plan(pieces: Sequence[Piece], how: str, like: Tensor) -> Plan:
    """The plan of a pack: "segments" or "flex", masks on the device and in the type of ``like``."""
    return Segments(pieces, like) if how == "segments" else Flex(pieces, like.device)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    plan: Plan | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """The attention of every layer; without a plan, transformers' own scaled dot-product attention.

    Raises:
        ValueError: the model attends in a way that packs do not know, or its window would cut a row.
    """
    if plan is None and attention_mask is not None and _share_keys(query, key, attention_mask, settings):
        out = _shared_keys(query, key, value, attention_mask, dropout_p=dropout, scale=scaling)
        return out.transpose(1, 2).contiguous(), None
    if plan is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
        )
        return out, None
    window = settings.pop("sliding_window", None)
    used = {"sliding_window": None if window is None or window >= plan.longest else window, **settings}
    for unknown in ("sliding_window", "softcap", "s_aux", "position_bias"):
        if used.get(unknown) is not None:
            raise ValueError(
                f"the model's attention uses {unknown}, which packed rows do not support; "
                "set learner.attention to padded"
            )
    plan.calls += 1
    return plan.attend(query, key, value, scaling).transpose(1, 2).contiguous(), None


def _share_keys(query: Tensor, key: Tensor, mask: Tensor, settings: Mapping[str, Any]) -> bool:
    """Whether heads share keys, all under one mask of every query, and nothing else changes their scores."""
    special = any(settings.get(name) is not None for name in ("softcap", "s_aux", "position_bias"))
    return query.shape[1] > key.shape[1] and mask.shape[1:3] == (1, query.shape[2]) and not special


def _shared_keys(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **settings: Any) -> Tensor:
    """[B, H, Q, D] outputs, where several heads share keys [B, H', K, D], under a mask [B, 1, Q, K].

    The heads that share keys stand behind each other as queries of one head, so that no key of the cache is
    copied for each of them, as transformers does for several queries: that takes longer than attending.
    """
    rows, shared = query.shape[0], query.shape[1] // key.shape[1]
    folded = query.reshape(rows, key.shape[1], shared * query.shape[2], query.shape[3])
    out = scaled_dot_product_attention(folded, key, value, attn_mask=mask.repeat(1, 1, shared, 1), **settings)
    return out.reshape(query.shape[:3] + value.shape[3:])


def pack_states(body: torch.nn.Module, pack: Pack, how: str) -> Tensor:
    """[1, T, D] last states of a network of transformers without its output layer, over a pack.

    Raises:
        ValueError: the network's layers do not get to see how the pack is cut.
    """
    weight = next(body.parameters())
    plan = make_plan(pack.pieces, how, weight)
    none = torch.zeros(1, 1, 1, 1, device=weight.device)  # or else transformers would make a [T, T] mask
    states: Tensor = body(
        input_ids=pack.ids, position_ids=pack.positions, attention_mask=none, use_cache=False, plan=plan
    ).last_hidden_state
    if plan.calls == 0:
        raise ValueError(
            f"{type(body).__name__} does not take attention functions, which packed rows need; "
            "set learner.attention to padded"
        )
    return states


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


@dataclass(frozen=True)
class _Group:
    """Neighbouring pieces handled in one call: a row alone, or branches of one trunk."""

    length: int
    parent: int | None  # the trunk's group
    sight: int  # trunk tokens that any of them sees
    bias: Tensor | None  # [length, sight + length], 0 where a query sees a key and -inf elsewhere


class Segments:
    """One call per row and per group of branches.

    Scoring in float32 on CPU attends in float64: sums over keys are the one place where a branch adds up in
    another order than a separate row does, and with exact sums both give the same numbers.
    """

    def __init__(self, pieces: Sequence[Piece], like: Tensor) -> None:
        """Group the pieces and lay out the masks of groups that branch."""
        self.calls, self.longest = 0, _longest(pieces)
        scoring = not torch.is_grad_enabled() and like.device.type == "cpu"
        self.dtype = torch.float64 if scoring and like.dtype == torch.float32 else like.dtype
        like = like.new_empty(0, dtype=self.dtype)
        self.groups: list[_Group] = []
        place: dict[int, int] = {}  # group of each piece
        for run in _runs(pieces):
            place.update(dict.fromkeys(run, len(self.groups)))
            members = [pieces[i] for i in run]
            parent = members[0].parent
            bias = None if parent is None else _bias(members, like)
            self.groups.append(
                _Group(
                    sum(p.length for p in members),
                    None if parent is None else place[parent],
                    max(p.sight for p in members),
                    bias,
                )
            )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """See `Plan`."""
        lengths = [group.length for group in self.groups]
        # Split, not sliced: the gradient of a slice is as large as the whole.
        queries, keys, values = (torch.split(x.to(self.dtype), lengths, dim=2) for x in (query, key, value))
        out = []
        for group, q, k, v in zip(self.groups, queries, keys, values, strict=True):
            if group.parent is not None:
                k = torch.cat([keys[group.parent][:, :, : group.sight], k], dim=2)
                v = torch.cat([values[group.parent][:, :, : group.sight], v], dim=2)
            out.append(
                scaled_dot_product_attention(
                    q, k, v, attn_mask=group.bias, is_causal=group.bias is None, scale=scale, enable_gqa=True
                )
            )
        return torch.cat(out, dim=2).to(query.dtype)


def _longest(pieces: Sequence[Piece]) -> int:
    """Tokens that the last token of some piece sees, the most of all pieces."""
    return max(piece.sight + piece.length for piece in pieces)


def _runs(pieces: Sequence[Piece]) -> list[list[int]]:
    """Numbers of the pieces that are handled together."""
    runs: list[list[int]] = []
    size = 0
    for i, piece in enumerate(pieces):
        before = pieces[i - 1] if i else None
        together = before is not None and piece.parent is not None and piece.parent == before.parent
        if together and size + piece.length <= GROUP:
            runs[-1].append(i)
            size += piece.length
        else:
            runs.append([i])
            size = piece.length
    return runs


def _bias(members: Sequence[Piece], like: Tensor) -> Tensor:
    """[Q, S + Q] additive mask of branches of one trunk, S trunk tokens first."""
    lengths = torch.tensor([p.length for p in members])
    owner = torch.arange(len(members)).repeat_interleave(lengths)
    sight = torch.tensor([p.sight for p in members])[owner]
    trunk = torch.arange(int(sight.max())) < sight[:, None]
    column = torch.arange(len(owner))
    visible = (owner[:, None] == owner) & (column[:, None] >= column)
    seen = torch.cat([trunk, visible], dim=1).to(like.device)
    return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)


class Flex:
    """One FlexAttention call over the blocks in which some token sees another."""

    def __init__(self, pieces: Sequence[Piece], device: torch.device) -> None:
        """Find the blocks."""
        self.calls, self.longest = 0, _longest(pieces)
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
