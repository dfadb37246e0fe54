"""What holds for every registered credit method; a new one is tested here by being registered.

Each method is tried with its defaults and with every other choice of its fields that have a few.
"""

import dataclasses
import math
import pickle
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.audit import audit_credit
from stepopsd_agent.batch import Batch, Steps, Tokens
from stepopsd_agent.credit.base import CreditMethod, scaled
from tests.builders import (
    Attempt,
    Layout,
    build,
    by_step,
    few,
    padded,
    permuted,
    random_attempts,
    random_batch,
    turn,
)


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method with its defaults, and with each other choice of one field."""
    for name in credit.names():
        yield name, {}
        method = credit.load(name)
        for field, kind in get_type_hints(method).items():
            choices = get_args(kind) if get_origin(kind) is Literal else (True, False) if kind is bool else ()
            default = method.__dataclass_fields__[field].default if choices else None
            yield from ((name, {field: choice}) for choice in choices if choice != default)


VARIANTS = list(variants())
every_method = pytest.mark.parametrize(
    "method", [pytest.param(credit.make(name, **fields), id=f"{name}-{fields}") for name, fields in VARIANTS]
)
LAYOUTS: tuple[Layout, Layout] = ("transcript", "window")
SEEDS = st.integers(0, 10_000)


def clones(batch: Batch) -> list[Tensor]:
    """Copies of every column there is."""
    tables: tuple[Any, ...] = (batch.tokens, batch.steps, batch.episodes)
    columns = (getattr(table, spec.name) for table in tables for spec in dataclasses.fields(table))
    return [column.clone() for column in columns if column is not None]


def without_teacher(batch: Batch) -> Batch:
    """The batch before anything was rescored."""
    tokens = dataclasses.replace(batch.tokens, teacher_logprobs=None, student_logprobs=None)
    return dataclasses.replace(batch, tokens=tokens)


@every_method
@given(seed=SEEDS)
@few
def test_credit_passes_the_audit_and_changes_nothing(method: CreditMethod, seed: int) -> None:
    """Zero outside the mask, finite, no step forgotten; metrics are finite numbers; inputs unmutated."""
    batch = random_batch(seed)
    before = clones(batch)
    result = method(batch)
    audit_credit(batch, result)
    assert all(type(value) is float and math.isfinite(value) for value in result.metrics.values())
    assert all(torch.equal(one, other) for one, other in zip(before, clones(batch), strict=True))


@every_method
@given(seed=SEEDS, left=st.integers(0, 3), right=st.integers(0, 3))
@few
def test_credit_is_blind_to_layout_row_order_and_padding(
    method: CreditMethod, seed: int, left: int, right: int
) -> None:
    """The same on the same steps but for the last bits: vector units round by place in memory."""
    transcript, window = (random_batch(seed, kind).to(dtype=torch.float64) for kind in LAYOUTS)
    order = torch.randperm(window.num_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    expected = method(transcript)
    steps = by_step(transcript, expected.advantages)
    for batch in (window, permuted(window, order), padded(transcript, left, right)):
        got = method(batch)
        for one, other in zip(by_step(batch, got.advantages), steps, strict=True):
            assert one == pytest.approx(other, rel=1e-12, abs=1e-12)
        assert got.metrics == pytest.approx(expected.metrics, rel=1e-9, abs=1e-9)


@every_method
@given(seed=SEEDS)
@few
def test_credit_does_not_depend_on_the_order_of_episodes(method: CreditMethod, seed: int) -> None:
    """Nor on the numbers that groups go by."""
    attempts = random_attempts(seed)
    order = torch.randperm(len(attempts), generator=torch.Generator().manual_seed(seed)).tolist()
    moved = [dataclasses.replace(attempts[i], group=1 - attempts[i].group) for i in order]
    first, second = (build(given).to(dtype=torch.float64) for given in (attempts, moved))
    one, other = by_step(first, method(first).advantages), by_step(second, method(second).advantages)
    starts = [sum(len(attempt.turns) for attempt in attempts[:i]) for i in range(len(attempts))]
    back = [step for i in order for step in one[starts[i] : starts[i] + len(attempts[i].turns)]]
    assert [x for step in other for x in step] == pytest.approx([x for step in back for x in step], abs=1e-9)


@every_method
@given(seed=SEEDS)
@few
def test_credit_in_single_precision_is_close_to_double(method: CreditMethod, seed: int) -> None:
    """And has the type of the batch."""
    batch = random_batch(seed)
    exact = method(batch.to(dtype=torch.float64)).advantages
    got = method(batch).advantages
    assert (got.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=1e-5)


@every_method
def test_credit_carries_no_gradient(method: CreditMethod) -> None:
    """Even when what it reads does."""
    batch = random_batch(0)
    columns: dict[str, Any] = {
        name: torch.full(batch.action_mask.shape, -1.0, requires_grad=True)
        for name in ("student_logprobs", "teacher_logprobs", "old_logprobs")
    }
    result = method(batch.with_tokens(**columns))
    assert not result.advantages.requires_grad
    assert not any(term.weights.requires_grad for term in result.terms)


@every_method
@given(returns=st.floats(-1e3, 1e3, width=32), size=st.integers(1, 5))
@few
def test_equal_returns_and_groups_of_one_give_zero(method: CreditMethod, returns: float, size: int) -> None:
    """Exactly: rounding must not be divided by a deviation of almost zero."""
    long, short = (turn(3, 0.4), turn(2, -0.3)), (turn(1, 0.2),)
    attempts = [Attempt(0, returns, long if i % 2 else short) for i in range(size)]
    alone = Attempt(1, 7.0, long)
    batch = build([*attempts, alone])
    assert (method_on_turns(method)(batch).advantages == 0).all()


def method_on_turns(method: CreditMethod) -> CreditMethod:
    """The method, looking at whole turns: these batches do not know where the actions are."""
    changes: dict[str, Any] = {"span": "turn"} if "span" in method.__dataclass_fields__ else {}
    return dataclasses.replace(method, **changes)


@every_method
def test_a_method_is_a_frozen_record_with_defaults(method: CreditMethod) -> None:
    """What the command line and checkpoints rely on."""
    assert dataclasses.is_dataclass(method)
    fields = dataclasses.fields(method)
    assert all(field.default is not dataclasses.MISSING for field in fields)
    assert pickle.loads(pickle.dumps(method)) == method == dataclasses.replace(method)
    assert method.scheduled <= {field.name for field in fields}
    assert method.needs <= {field.name for field in (*dataclasses.fields(Tokens), *dataclasses.fields(Steps))}
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.lambda_mix = 0.0  # type: ignore[attr-defined]


@every_method
@given(seed=SEEDS)
@few
def test_a_schedule_at_its_end_leaves_the_base_and_needs_no_teacher(method: CreditMethod, seed: int) -> None:
    """So a learner may stop rescoring there."""
    if not method.scheduled:
        return
    batch = without_teacher(random_batch(seed))
    ended = scaled(method, 0.0)(batch)
    choices = {name: getattr(method, name) for name in ("baseline", "std")}
    assert torch.equal(ended.advantages, credit.make("grpo", **choices)(batch).advantages)
    with pytest.raises(ValueError, match=r"needs tokens\.teacher_logprobs, which is None"):
        method(batch)


@every_method
@given(seed=SEEDS)
@few
def test_a_teacher_that_agrees_leaves_the_base(method: CreditMethod, seed: int) -> None:
    """Exactly, but where the method equalises what is unequal before any teacher speaks."""
    if "teacher_logprobs" not in method.needs or getattr(method, "step_norm", "") == "equal_step_sum":
        return
    batch = random_batch(seed)
    agreeing = batch.with_tokens(teacher_logprobs=batch.tokens.student_logprobs)
    assert torch.equal(method(agreeing).advantages, scaled(method, 0.0)(batch).advantages)


@pytest.mark.gpu
@every_method
def test_credit_agrees_between_cuda_and_cpu(method: CreditMethod) -> None:
    """Within float32 rounding; the result stays on the device."""
    batch = random_batch(0, groups=4, size=8, most_turns=12, most_tokens=40)
    there = method(batch.to("cuda"))
    assert there.advantages.is_cuda
    here = method(batch)
    torch.testing.assert_close(there.advantages.cpu(), here.advantages, rtol=1e-5, atol=1e-6)
    assert there.metrics == pytest.approx(here.metrics, rel=1e-4, abs=1e-6)
    audit_credit(batch.to("cuda"), there)
