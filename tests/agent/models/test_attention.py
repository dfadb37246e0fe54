"""Attention over packs: both backends against one dense mask, in numbers and gradients."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stepopsd_agent.models.packed import CACHE_ROOM, RowCache, Tree, attention, pack_states
from stepopsd_agent.models.packed.attention import Reading, Segments, attend, make_plan
from stepopsd_agent.models.packed.flex import Flex, block_mask, intervals
from stepopsd_agent.models.packed.packing import Piece, pack_trees
from tests.helpers.models import tiny

LIKE = torch.empty(0, dtype=torch.float64)


def pieces(seed: int) -> list[Piece]:
    """Rows and trees; some branches short enough to be taken together, some not."""
    rng = np.random.default_rng(seed)
    out: list[Piece] = []
    for _ in range(3):
        trunk, length = len(out), int(rng.integers(5, 90))
        out.append(Piece(length))
        for _ in range(int(rng.integers(0, 6))):
            out.append(Piece(int(rng.choice([1, 4, 17, 70])), trunk, int(rng.integers(1, length + 1))))
    return out


def dense(cut: list[Piece]) -> Tensor:
    """[T, T] True where a query sees a key, written out piece by piece."""
    starts = np.cumsum([0, *(p.length for p in cut)])
    mask = torch.zeros(int(starts[-1]), int(starts[-1]), dtype=torch.bool)
    for piece, start in zip(cut, starts, strict=False):
        rows = mask[start : start + piece.length]
        rows[:, start : start + piece.length] = torch.ones(piece.length, piece.length).tril()
        if piece.parent is not None:
            rows[:, starts[piece.parent] : starts[piece.parent] + piece.sight] = True
    return mask


def heads(size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of four heads, keys and values of two."""
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> Tensor:
        shape = (1, count, size, 8)
        return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)

    return some(4), some(2), some(2)


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention, nothing left out."""
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    scores = (query @ key.transpose(-1, -2) * 0.3).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("seed", range(4))
def test_segments_equal_dense_attention_and_its_gradients(seed: int) -> None:
    """Grouped or not, float64 to rounding."""
    cut = pieces(seed)
    mask = dense(cut)
    ours, theirs = heads(len(mask)), heads(len(mask))
    out, expected = Segments(cut, LIKE).attend(*ours, 0.3), reference(*theirs, mask)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    (out * weight).sum().backward()  # type: ignore[no-untyped-call]
    (expected * weight).sum().backward()  # type: ignore[no-untyped-call]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-12, rtol=0)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the most elements of any tensor that is made meanwhile."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [x for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, Tensor)]
        self.elements = max([self.elements, *(x.untyped_storage().nbytes() // x.itemsize for x in made)])
        return out


@pytest.mark.parametrize("way", [-1e9, 1e9])
@pytest.mark.parametrize("queries", [1, 5])
def test_cached_keys_that_heads_share_are_not_copied_for_each_of_them(
    queries: int, way: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three rows that end in the new tokens, equal to dense attention."""
    monkeypatch.setattr(attention, "CALL", way)
    query, key, value = (x.detach() for x in heads(40))
    cache, parts = RowCache(3), [slice(0, 40 - queries), slice(40 - queries, 40)]
    largest = Largest()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        for number, part in enumerate(parts):
            new = {row: range(part.stop - part.start) for row in range(3)}
            plan = Reading(cache, new, query.device)
            plan.calls = 1
            given = [x[:, :, part].repeat(1, 1, 3, 1) for x in (query, key, value)]
            cache.layer(0, given[1:], 40)  # so that it has room
            with largest if number else nullcontext():
                out = plan.attend(given[0], given[1], given[2], 0.3)
            cache.held = [[*held, *new[row]] for row, held in enumerate(cache.held)]
    expected = reference(query, key, value, torch.ones(40, 40, dtype=torch.bool).tril())[:, :, -queries:]
    torch.testing.assert_close(out, expected.repeat(1, 1, 3, 1), atol=1e-12, rtol=0)
    assert largest.elements <= 3 * 2 * (40 + CACHE_ROOM) * 8, "keys of four heads"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("seed", range(4))
def test_flex_equals_dense_attention(seed: int) -> None:
    """Forward: FlexAttention has no backward pass on CPU."""
    cut = pieces(seed)
    mask = dense(cut)
    with torch.inference_mode():
        query, key, value = (x.detach().float() for x in heads(len(mask)))
        out = Flex(cut, torch.device("cpu")).attend(query, key, value, 0.3)
        torch.testing.assert_close(out, reference(query, key, value, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_block_mask_holds_the_blocks_in_which_something_is_seen(seed: int) -> None:
    """Partial and full blocks are told apart, and no block without a seen pair is there."""
    cut = [Piece(300), *pieces(seed), Piece(140)]
    cut = [Piece(p.length, None if p.parent is None else p.parent + 1, p.sight) for p in cut]
    mask = dense(cut)
    size = len(mask)
    found = block_mask(cut, torch.device("cpu"))
    edge = -(-size // 128) * 128
    padded = torch.nn.functional.pad(mask, (0, edge - size, 0, edge - size))
    blocks = padded.view(edge // 128, 128, edge // 128, 128).sum((1, 3))
    assert torch.equal(found.to_dense()[0, 0] > 0, blocks > 0)
    assert found.full_kv_num_blocks is not None
    assert int(found.full_kv_num_blocks.sum()) == int((blocks == 128 * 128).sum())


def test_intervals_are_the_dense_mask() -> None:
    """What the mask of FlexAttention compares, for every pair."""
    cut = pieces(3)
    start, begin, end = (x[:, None] for x in intervals(cut))
    column = torch.arange(len(start))
    own = (column >= start) & (column <= column[:, None])
    assert torch.equal(own | ((column >= begin) & (column < end)), dense(cut))


def test_segments_notice_a_branch_at_the_wrong_place() -> None:
    """The comparisons above can fail."""
    cut = [Piece(20), Piece(5, 0, 10)]
    other = [Piece(20), Piece(5, 0, 9)]
    query, key, value = heads(25)
    first, second = (Segments(c, LIKE).attend(query, key, value, 0.3) for c in (cut, other))
    assert torch.equal(first[:, :, :20], second[:, :, :20])
    assert (first - second)[:, :, 20:].abs().max() > 1e-3


def test_flex_is_chosen_on_cuda_alone() -> None:
    """Elsewhere it has no backward pass; what is asked for is taken."""
    policy = tiny()
    for device, backend in (("cpu", "segments"), ("cuda:1", "flex"), ("mps", "segments")):
        policy.device = torch.device(device)
        assert policy.attention("auto") == backend
        assert policy.attention("padded") == "padded" and policy.attention("segments") == "segments"


def test_attention_that_packs_do_not_know_is_refused() -> None:
    """A sliding window would be lost without a word."""
    query, key, value = heads(5)
    plan = make_plan([Piece(5)], "segments", LIKE)
    with pytest.raises(ValueError, match=r"uses sliding_window.*set learner.attention to padded"):
        attend(torch.nn.Module(), query, key, value, None, plan=plan, sliding_window=3)


def test_a_network_that_drops_the_plan_is_refused() -> None:
    """Rows would see each other."""
    policy = tiny()
    policy.model.set_attn_implementation("eager")
    pack = pack_trees([Tree((1, 2, 3), scored=(1,))] * 2, policy.device)
    with pytest.raises(ValueError, match="does not take attention functions"):
        pack_states(policy.model.base_model, pack, "segments")


@pytest.mark.gpu
@pytest.mark.parametrize("how", ["segments", "flex"])
def test_attention_on_cuda_equals_dense_attention_and_its_gradients(how: str) -> None:
    """Compiled FlexAttention, forward and backward."""
    cut = pieces(1)
    mask = dense(cut).cuda()

    def on_cuda() -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (
            x.detach().float().repeat(1, 1, 1, 2).cuda().requires_grad_() for x in heads(len(mask))
        )
        return query, key, value

    ours, theirs = on_cuda(), on_cuda()
    plan = make_plan(cut, how, ours[0])
    out, expected = plan.attend(*ours, 0.3), reference(*theirs, mask)
    torch.testing.assert_close(out, expected, atol=1e-3, rtol=1e-3)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    expected.square().sum().backward()  # type: ignore[no-untyped-call]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-2, rtol=1e-2)
