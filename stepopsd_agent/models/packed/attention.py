"""Attention over packs (see `packing`), as a function that transformers calls in place of its default.

Two ways that give the same numbers. "segments" calls PyTorch's scaled dot-product attention once per row and
once per handful of short branches, so that no mask grows with the pack and no work is spent on tokens that do
not see each other; it has a backward pass everywhere. "flex" (see `flex`) is one call over a block-sparse
mask, for CUDA. Rows that grow turn by turn are read in the same way, beside a cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from stepopsd_agent.models.packed.packing import Pack, Piece, branch_mask, grouped, longest_sight

NAME = "stepopsd"
"""The name of `attend` in transformers; ``set_attn_implementation`` selects it for a model."""
CACHE_ROOM = 64
"""Places that are added to a full key-value cache beyond those it needs."""
FEW = 8
"""Rows with at most so many new tokens may attend in one call."""
CALL = 200
"""They do if each of them reads at most so many places in vain, which take as long as a call on CPU."""
LEFT_OUT = {"softcap": "a softcap", "s_aux": "attention sinks"}
"""What models hand to their attention and `sdpa_attention_forward` of transformers may ignore in silence."""
SHARED_MASK = 2**22
"""Most elements of a row's mask for heads that share keys to stand behind each other."""


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
    if how == "segments":
        return Segments(pieces, like)
    from stepopsd_agent.models.packed.flex import Flex

    return Flex(pieces, like.device)


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
        ValueError: the model attends in a way that is not known here, or its window would cut a row.
    """
    for setting, what in LEFT_OUT.items():
        if settings.get(setting) is not None:
            raise ValueError(f"the model's attention has {what}, which PyTorch's fused attention leaves out")
    if plan is None:
        plain = {"dropout": dropout, "scaling": scaling, **settings}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **plain)[0], None
    window = settings.pop("sliding_window", None)
    used = {"sliding_window": None if window is None or window >= plan.longest else window, **settings}
    for unknown in ("sliding_window", "position_bias"):
        if used.get(unknown) is not None:
            raise ValueError(
                f"the model's attention uses {unknown}, which packed rows do not support; "
                "set learner.attention to padded"
            )
    plan.calls += 1
    return plan.attend(query, key, value, scaling).transpose(1, 2).contiguous(), None


def pack_states(body: torch.nn.Module, pack: Pack, how: str) -> Tensor:
    """[1, T, D] last states of a network of transformers without its output layer, over a pack.

    Raises:
        ValueError: the network's layers do not get to see how the pack is cut.
    """
    plan = make_plan(pack.pieces, how, next(body.parameters()))
    return planned_states(body, pack.ids, pack.positions, plan)


def planned_states(body: torch.nn.Module, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
    """[1, T, D] last states of tokens [1, T] that see each other as planned; see `pack_states`."""
    none = torch.zeros(1, 1, 1, 1, device=ids.device)  # or else transformers would make a [T, T] mask
    states: Tensor = body(
        input_ids=ids, position_ids=positions, attention_mask=none, use_cache=False, plan=plan
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
        self.calls, self.longest = 0, longest_sight(pieces)
        scoring = not torch.is_grad_enabled() and like.device.type == "cpu"
        self.dtype = torch.float64 if scoring and like.dtype == torch.float32 else like.dtype
        like = like.new_empty(0, dtype=self.dtype)
        self.groups: list[_Group] = []
        place: dict[int, int] = {}  # group of each piece
        for run in grouped(pieces):
            place.update(dict.fromkeys(run, len(self.groups)))
            members = [pieces[i] for i in run]
            parent = members[0].parent
            bias = None if parent is None else branch_mask(members, like)
            length, sight = sum(p.length for p in members), max(p.sight for p in members)
            trunk = None if parent is None else place[parent]
            self.groups.append(_Group(length, trunk, sight, bias))

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


class RowCache:
    """Keys and values of rows, each as long as it is: its places are filled from the first, without holes."""

    def __init__(self, rows: int) -> None:
        """Begin with empty rows."""
        self.held: list[list[int]] = [[] for _ in range(rows)]  # ids
        self.layers = list[list[Tensor]]()  # keys, values [rows, H', places, D]

    def layer(self, number: int, like: Sequence[Tensor], places: int) -> list[Tensor]:
        """Keys and values of a layer, with at least so many places; ``like``: both, [1, H', T, D] each."""
        if number == len(self.layers):
            rows = len(self.held)
            self.layers.append([new.new_empty(rows, new.shape[1], 0, new.shape[3]) for new in like])
        held = self.layers[number]
        for which, old in enumerate(held):
            if old.shape[2] < places:  # each for itself: memory may have run out between them
                held[which] = old.new_zeros(*old.shape[:2], places + CACHE_ROOM, old.shape[3])  # finite
                held[which][:, :, : old.shape[2]] = old
        return held

    def keep(self, rows: Sequence[int]) -> None:
        """As `Decoder.keep`."""
        self.held = [self.held[row] for row in rows]
        for held in self.layers:
            index = torch.tensor(rows, dtype=torch.long, device=held[0].device)
            held[:] = [part[index] for part in held]

    def begin(self, row: int, source: int, count: int) -> None:
        """Let a row hold the first ``count`` tokens of another one, or of itself, and nothing else."""
        if source != row:
            for part in (part for held in self.layers for part in held):
                part[row, :, :count] = part[source, :, :count]
        self.held[row] = self.held[source][:count]

    def read(self, body: torch.nn.Module, new: Mapping[int, Sequence[int]]) -> Tensor:
        """[rows, D] states after the last of the new ids of each row, which the cache then holds.

        Where it fails the cache is as it was.
        """
        plan = Reading(self, new, next(body.parameters()).device)
        ids = torch.tensor([[token for row in new.values() for token in row]], device=plan.places.device)
        states = planned_states(body, ids, plan.places[None], plan)
        for row, ids_of_row in new.items():
            self.held[row] += ids_of_row
        return states[0, torch.tensor(plan.sizes, device=ids.device).cumsum(0) - 1]


class Reading:
    """How new tokens of some rows, one row after another, see each other and what the cache holds.

    A `Plan` of `models.packed.attention`. Each row attends alone, over its own length; rows with few new
    tokens do so together if little is read in vain, and always on CUDA, where calls cost more than places.
    """

    def __init__(self, cache: RowCache, new: Mapping[int, Sequence[int]], device: torch.device) -> None:
        """Read ``new``: ids for each row."""
        self.calls, self.cache, self.sizes = 0, cache, [len(ids) for ids in new.values()]
        self.rows, self.ends = list(new), [len(cache.held[row]) + len(ids) for row, ids in new.items()]
        self.longest = max(self.ends)
        self.masks: list[Tensor | None] = []  # additive, of rows that attend alone; made for the first layer
        ends = [end for end, size in zip(self.ends, self.sizes, strict=True) if size <= FEW]
        vain = len(cache.held) * max(ends, default=0) - sum(ends)
        few = FEW if device.type == "cuda" or vain <= CALL * len(ends) else 0
        self.alone = [number for number, size in enumerate(self.sizes) if size > few]
        spans = zip(self.rows, self.ends, self.sizes, strict=True)
        tokens = [(row, n, end - size + n, size <= few) for row, end, size in spans for n in range(size)]
        # Of each token the row, its number among those that are new there, and its place.
        self.row_of_token, numbers, self.places, chosen = torch.tensor(tokens, device=device).unbind(1)
        self.seen: Tensor | None = None  # of each query that does not attend alone, what it sees
        if len(self.alone) < len(self.rows):
            self.chosen = chosen.nonzero()[:, 0] if self.alone else slice(None)
            self.rows_together, self.numbers = self.row_of_token[self.chosen], numbers[self.chosen]
            # Where there is no token in a row a query sees one place: an empty softmax is no number.
            self.width = max(size for size in self.sizes if size <= few)
            limit = torch.ones(len(cache.held), self.width, dtype=torch.long, device=device)
            limit[self.rows_together, self.numbers] += self.places[self.chosen]
            self.seen = (torch.arange(max(ends), device=device) < limit[:, :, None])[:, None]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """See `Plan`. Heads that share keys are queries of one head, behind each other."""
        held = self.cache.layer(self.calls - 1, (key, value), self.longest)
        for part, added in zip(held, (key, value), strict=True):
            part[self.row_of_token, :, self.places] = added[0].transpose(0, 1)
        kinds, shared = key.shape[1], query.shape[1] // key.shape[1]
        out = query.new_empty(*query.shape[:3], value.shape[3])
        if self.seen is not None:
            if self.calls == 1:
                self.seen = self.seen.repeat_interleave(shared, dim=2)
            tokens, rows, numbers = self.chosen, self.rows_together, self.numbers
            width, longest = self.seen.shape[2] // shared, self.seen.shape[3]
            folded = query.new_zeros(len(held[0]), kinds, width, shared, query.shape[3])
            folded[rows, :, numbers] = (
                query[0, :, tokens].transpose(0, 1).reshape(-1, kinds, shared, query.shape[3])
            )
            keys, values = (part[:, :, :longest] for part in held)
            found = scaled_dot_product_attention(
                folded.flatten(2, 3), keys, values, attn_mask=self.seen, scale=scale
            ).reshape(*folded.shape[:4], -1)
            together = found[rows, :, numbers].flatten(1, 2).transpose(0, 1)
            if not self.alone:
                return together[None]
            out[0, :, self.chosen] = together
        self.masks = self.masks or [_mask(self.sizes[n], self.ends[n], shared, query) for n in self.alone]
        parts, outs = (torch.split(x, self.sizes, dim=2) for x in (query, out))
        for number, mask in zip(self.alone, self.masks, strict=True):
            q, row, end = parts[number], self.rows[number], self.ends[number]
            keys, values = (part[row : row + 1, :, :end] for part in held)
            causal = mask is None and q.shape[2] > 1
            apart = causal or (mask is not None and len(mask) == q.shape[2])
            found = scaled_dot_product_attention(
                q if apart else q.reshape(1, kinds, -1, q.shape[3]), keys, values,
                attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=apart,
            )  # fmt: skip
            outs[number].copy_(found.reshape(outs[number].shape))
        return out


def _mask(size: int, end: int, shared: int, like: Tensor) -> Tensor | None:
    """[Q, K] additive mask of the last ``size`` tokens of ``end``, for each of the heads that share keys.

    Those stand below each other, but where the mask would be large. None where all is seen, or a row begins.
    """
    if size in (1, end):
        return None
    hidden = like.new_full((size, end), -torch.inf).triu(end - size + 1)
    return hidden if hidden.numel() * shared > SHARED_MASK else hidden.repeat(shared, 1)
