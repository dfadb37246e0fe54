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
from hypothesis import given, strategies as st
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, Episodes, Steps, Tokens
from stepopsd_agent.batch.declaring import OWN
from stepopsd_agent.credit import CreditMethod, LossTerm, audit_credit, scaled
from stepopsd_agent.credit.base import Claim
from tests.helpers.builders import (
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


VARIANTS = [(f"{name}-{fields}", credit.make(name, **fields)) for name, fields in variants()]
every_method = pytest.mark.parametrize("method", [pytest.param(made, id=name) for name, made in VARIANTS])


def claiming(claim: Claim) -> pytest.MarkDecorator:
    """The methods that say so of themselves."""
    chosen = [pytest.param(made, id=name) for name, made in VARIANTS if claim in made.claims]
    return pytest.mark.parametrize("method", chosen)


LAYOUTS: tuple[Layout, Layout] = ("transcript", "window")
SEEDS = st.integers(0, 10_000)


def clones(batch: Batch) -> list[Tensor]:
    """Copies of every column there is."""
    tables: tuple[Any, ...] = (batch.tokens, batch.steps, batch.episodes, batch.teacher_topk, batch.past)
    columns = (getattr(table, spec.name) for table in tables for spec in dataclasses.fields(table))
    return [column.clone() for column in columns if column is not None]


def bare(batch: Batch, *but: str) -> Batch:
    """The batch before anything was computed for it, except these columns."""
    tables: dict[str, Any] = {}
    for name in ("tokens", "steps", "episodes"):
        table = getattr(batch, name)
        optional = {f.name for f in dataclasses.fields(table) if f.default is None}
        tables[name] = dataclasses.replace(table, **dict.fromkeys(optional - {*but, *ACTIONS}))
    return dataclasses.replace(
        batch,
        **tables,
        teacher_topk=batch.teacher_topk if "teacher_topk" in but else None,
        inferred_transitions=batch.inferred_transitions if "inferred_transitions" in but else None,
        past=batch.past if "past" in but else None,
        own={name: column for name, column in batch.own.items() if name in but},
    )


ACTIONS = {"action_start", "action_end"}
"""Optional columns that are recorded, never computed."""
OPTIONAL = {
    spec.name
    for table in (Tokens, Steps, Episodes)
    for spec in dataclasses.fields(table)
    if spec.default is None
} | {"teacher_topk", "inferred_transitions", "past", *OWN}
STRENGTH = ("lambda_mix", "coef")
"""Fields at whose zero a method is its base."""


def weakened(method: CreditMethod) -> CreditMethod:
    """The method at strength zero."""
    changes: dict[str, Any] = {name: 0.0 for name in STRENGTH if name in method.__dataclass_fields__}
    assert changes, "a method that claims a base has a field of its strength"
    return dataclasses.replace(method, **changes)


def base_of(method: CreditMethod) -> CreditMethod:
    """The method that is redistributed."""
    chosen = vars(method)
    return credit.make("grpo", baseline=chosen["baseline"], std=chosen["std"])


def value_of(batch: Batch, term: LossTerm) -> float:
    """A loss term at the student's log-probabilities."""
    assert batch.tokens.student_logprobs is not None
    return float((term.weights * term.function(batch.tokens.student_logprobs, *term.inputs)).sum())


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
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
        assert got.metrics == pytest.approx(expected.metrics, rel=1e-9, abs=1e-9)
        for term, same in zip(got.terms, expected.terms, strict=True):
            assert term.name == same.name
            if isinstance(term, LossTerm) and isinstance(same, LossTerm):
                assert value_of(batch, term) == pytest.approx(value_of(transcript, same), rel=1e-6)


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
    # Sums in another order differ in the last bit, 1e-16, which a spread of only the eps of 1e-7 divides.
    assert [x for step in other for x in step] == pytest.approx([x for step in back for x in step], abs=1e-8)


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
    result = method(batch.with_columns(**columns))
    assert not result.advantages.requires_grad
    assert not any(term.weights.requires_grad for term in result.terms)


@claiming("equal_returns_zero")
@given(returns=st.floats(-1e3, 1e3, width=32), size=st.integers(2, 5))
@few
def test_equal_returns_give_zero(method: CreditMethod, returns: float, size: int) -> None:
    """Exactly: rounding must not be divided by a deviation of almost zero."""
    long, short = (turn(3, 0.4), turn(2, -0.3)), (turn(1, 0.2),)
    batch = build([Attempt(0, returns, long if i % 2 else short) for i in range(size)])
    assert (method_on_turns(method)(batch).advantages == 0).all()


@claiming("alone_zero")
@given(seed=SEEDS)
@few
def test_a_group_of_one_gives_zero(method: CreditMethod, seed: int) -> None:
    """There is nobody to compare with."""
    others = random_attempts(seed, groups=1)
    alone = dataclasses.replace(random_attempts(seed + 1, groups=1, size=1)[0], group=1)
    batch = build([*others, alone])
    own = batch.group_of_step[batch.tokens.step_of_token.clamp(min=0)] == 1
    assert (method(batch).advantages[own] == 0).all()


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
    assert method.needs <= OPTIONAL and method.claims <= set(get_args(Claim))
    assert method.paper
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.lambda_mix = 0.0  # type: ignore[attr-defined]


@every_method
@given(seed=SEEDS)
@few
def test_a_method_reads_the_columns_it_names_and_no_other(method: CreditMethod, seed: int) -> None:
    """With these alone it gives the same; without one of them it says which, by name."""
    batch = random_batch(seed)
    full, enough = method(batch), method(bare(batch, *method.needs))
    assert torch.equal(full.advantages, enough.advantages) and full.metrics == enough.metrics
    for missing in sorted(method.needs):
        with pytest.raises(ValueError, match=rf"needs (\w+\.)?{missing}, which is None"):
            method(bare(batch, *(method.needs - {missing})))


@claiming("base")
@given(seed=SEEDS)
@few
def test_strength_zero_leaves_the_base_and_needs_nothing(method: CreditMethod, seed: int) -> None:
    """So does a schedule at its end: a learner may stop rescoring there."""
    if method == base_of(method):
        return
    batch = bare(random_batch(seed))
    expected = base_of(method)(batch).advantages
    for ended in {weakened(method), *([scaled(method, 0.0)] if method.scheduled else [])}:
        result = ended(batch)
        assert torch.equal(result.advantages, expected) and not result.terms


@claiming("base")
@given(seed=SEEDS)
@few
def test_a_teacher_that_agrees_leaves_the_base(method: CreditMethod, seed: int) -> None:
    """Exactly, but where the method equalises what is unequal before any teacher speaks."""
    if vars(method).get("step_norm") == "equal_step_sum":
        return
    batch = random_batch(seed)
    assert batch.tokens.student_logprobs is not None
    agreeing = batch.with_columns(teacher_logprobs=batch.tokens.student_logprobs)
    assert torch.equal(method(agreeing).advantages, base_of(method)(batch).advantages)


@claiming("signs_kept")
@given(seed=SEEDS)
@few
def test_signs_are_kept_and_the_change_is_bounded(method: CreditMethod, seed: int) -> None:
    """|A' - A| <= lambda_mix alpha_clip |A|."""
    batch = random_batch(seed).to(dtype=torch.float64)
    base, got = base_of(method)(batch).advantages, method(batch).advantages
    bound = vars(method)["lambda_mix"] * vars(method)["alpha_clip"]
    assert torch.equal(got.sign(), base.sign())
    assert ((got - base).abs() <= bound * base.abs() + 1e-12).all()


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
