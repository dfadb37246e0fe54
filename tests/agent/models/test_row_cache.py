"""Rows that grow in a cache of keys and values give what one whole pass gives, however they are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import CACHE_ROOM, RowCache, attention
from tests.agent.models.test_self_check import random_policy
from tests.helpers.models import tiny

LATENT: dict[str, Any] = {
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12},
    **{"first_k_dense_replace": 2, "num_key_value_heads": 2, "head_dim": 8},
}
"""Of a model whose values are narrower than its keys, without experts."""
WAYS = {"alone": -1e9, "together": 1e9}


def whole(policy: Policy, ids: Sequence[int]) -> Tensor:
    """[D] state after the last id, by the network's own forward pass."""
    states: Tensor = policy.model.base_model(input_ids=torch.tensor([ids])).last_hidden_state
    return states[0, -1]


def passes(seed: int, rows: int) -> list[dict[int, list[int]]]:
    """New ids for some of the rows, in passes of prompts and of single tokens."""
    rng = torch.Generator().manual_seed(seed)
    out = []
    for number in range(14):
        some = [row for row in range(rows) if number == 0 or torch.rand((), generator=rng) < 0.6] or [0]
        count = 1 if number % 3 else 30
        sizes = {row: int(torch.randint(1, count + 1, (), generator=rng)) for row in some[::-1]}
        out.append({row: torch.randint(1, 90, (n,), generator=rng).tolist() for row, n in sizes.items()})
    return out


@pytest.mark.parametrize("mask", [2**22, 0])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["tiny", "LlamaConfig", "DeepseekV3Config"])
@torch.inference_mode()
def test_rows_that_grow_give_what_whole_passes_give(
    kind: str, way: str, mask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows in each pass, in any order, prompts and single tokens; rows dropped and begun anew."""
    monkeypatch.setattr(attention, "CALL", WAYS[way])
    monkeypatch.setattr(attention, "SHARED_MASK", mask)
    settings = LATENT if kind == "DeepseekV3Config" else {}
    policy = tiny("float64") if kind == "tiny" else random_policy(kind, torch.float64, **settings)
    cache, held = RowCache(5), [list[int]() for _ in range(5)]

    def read(new: Mapping[int, Sequence[int]]) -> None:
        for row, ids in new.items():
            held[row] += ids
        states = cache.read(policy.model.base_model, new)
        expected = torch.stack([whole(policy, held[row]) for row in new])
        torch.testing.assert_close(states, expected, atol=1e-9, rtol=0)
        assert cache.held == held

    for new in passes(0, 5):
        read(new)
    cache.keep([4, 1, 2])
    held = [held[4], held[1], held[2]]
    cache.begin(1, 1, 0)
    held[1] = []
    for new in passes(1, 3):
        read(new)


@torch.inference_mode()
def test_a_pass_that_failed_half_way_leaves_no_trace() -> None:
    """The first layer has taken the keys, and nothing else."""
    policy = tiny("float64")
    cache, first = RowCache(2), {0: [5, 6, 7], 1: [8]}
    cache.read(policy.model.base_model, first)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory, as the test wants it")

    last: Any = policy.model.base_model.layers[-1]  # type: ignore[index]
    hook = last.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        cache.read(policy.model.base_model, {1: list(range(1, 99)), 0: [3]})
    hook.remove()
    assert cache.held == [[5, 6, 7], [8]]
    states = cache.read(policy.model.base_model, {1: [9, 4]})
    torch.testing.assert_close(states[0], whole(policy, [8, 9, 4]), atol=1e-9, rtol=0)


@torch.inference_mode()
def test_a_pass_without_memory_for_the_values_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room for keys has grown, that for values has not; a shorter pass follows."""
    policy, made = tiny("float64"), 0
    cache = RowCache(1)
    cache.read(policy.model.base_model, {0: [5, 6, 7]})
    ordinary = torch.Tensor.new_zeros

    def full(self: Tensor, *size: Any, **more: Any) -> Tensor:
        nonlocal made
        made += 1
        if made == 2:
            raise torch.OutOfMemoryError("out of memory, as the test wants it")
        return ordinary(self, *size, **more)

    new = [1 + token % 90 for token in range(4 * CACHE_ROOM)]
    monkeypatch.setattr(torch.Tensor, "new_zeros", full)
    with pytest.raises(torch.OutOfMemoryError):
        cache.read(policy.model.base_model, {0: new})
    monkeypatch.undo()
    assert cache.held == [[5, 6, 7]]
    for part in (new[: 2 * CACHE_ROOM], new[2 * CACHE_ROOM :]):
        states = cache.read(policy.model.base_model, {0: part})
    torch.testing.assert_close(states[0], whole(policy, [5, 6, 7, *new]), atol=1e-9, rtol=0)


@torch.inference_mode()
def test_tokens_are_added_without_copying_those_before() -> None:
    """The keys stay where they are in memory while tokens are added."""
    policy, places = tiny(), set[int]()
    cache = RowCache(2)
    for token in range(3 * CACHE_ROOM):
        cache.read(policy.model.base_model, {0: [1 + token % 90], 1: [2]})
        places.add(cache.layers[0][0].data_ptr())
    assert len(places) <= 4


@torch.inference_mode()
def test_a_short_row_beside_a_long_one_sees_no_place_that_was_never_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read together, such places are masked: memory that held something else must not matter."""
    monkeypatch.setattr(attention, "CALL", WAYS["together"])
    policy = tiny("float64")
    ordinary = torch.Tensor.new_empty

    def filthy(self: Tensor, *size: Any, **more: Any) -> Tensor:
        return ordinary(self, *size, **more).fill_(torch.nan)

    monkeypatch.setattr(torch.Tensor, "new_empty", filthy)
    cache = RowCache(2)
    cache.read(policy.model.base_model, {0: list(range(1, 60)), 1: [5]})
    states = cache.read(policy.model.base_model, {0: [7], 1: [6]})
    torch.testing.assert_close(states[1], whole(policy, [5, 6]), atol=1e-9, rtol=0)
