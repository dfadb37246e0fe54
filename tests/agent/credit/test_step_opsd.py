"""StepOPSD by hand, and what the paper claims of it."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent import credit
from stepopsd_agent.credit import Credit, audit_credit
from tests.helpers.builders import Attempt, build, by_step, random_batch, steady, turn

LN3 = math.log(3)
# Without deviation A is 1/2 and -1/2. The success has gaps (ln 3, 0) and (-ln 3), the failure ln 3.
BATCH = build(
    [Attempt(0, 1.0, (turn(2, (LN3, 0.0)), turn(1, -LN3))), Attempt(0, 0.0, (turn(1, LN3),))],
)
HALF: dict[str, Any] = {"lambda_mix": 0.5, "std": False}


def shaped(**fields: Any) -> list[float]:
    """The credit of the four tokens."""
    return [value for step in by_step(BATCH, run(**fields).advantages) for value in step]


def run(**fields: Any) -> Credit:
    """StepOPSD with half of the reweighted advantage unless told otherwise."""
    return credit.make("step_opsd", **{**HALF, **fields})(BATCH)


def test_step_opsd_without_norm_matches_hand_worked_values() -> None:
    """2 sigmoid(ln 3) = 3/2, clipped to 1.2; 2 sigmoid(-ln 3) = 1/2, to 0.8; the failure's sign flips it."""
    # 0.5 + 0.5 * 0.2 * 0.5; unchanged; 0.5 - 0.5 * 0.2 * 0.5; -0.5 + 0.5 * 0.2 * 0.5
    assert shaped(step_norm="none") == pytest.approx([0.55, 0.5, 0.45, -0.45])


def test_step_opsd_with_a_wide_clip_shows_the_weights() -> None:
    """Sigmoid 3/2, 1, 1/2, 1/2; exp 3, 1, 1/3, 1/3; the latter clipped to 2 and 0 by alpha = 1."""
    wide: dict[str, Any] = {"step_norm": "none", "alpha_clip": 1.0, "lambda_mix": 1.0}
    assert shaped(**wide) == pytest.approx([0.75, 0.5, 0.25, -0.25])
    assert shaped(**wide, weight="exp") == pytest.approx([1.0, 0.5, 1 / 6, -1 / 6])


def test_equal_step_mean_abs_matches_hand_worked_values() -> None:
    """Means (0.525, 0.45), their mean 0.4875: c = (0.4875 / 0.525, 0.4875 / 0.45); one step is left alone."""
    expected = [0.55 * 0.4875 / 0.525, 0.5 * 0.4875 / 0.525, 0.4875, -0.45]
    assert shaped() == pytest.approx(expected, rel=1e-5)


def test_equal_step_sum_matches_hand_worked_values() -> None:
    """Sums (1.05, 0.45), their mean 0.75, so c = (0.75 / 1.05, 0.75 / 0.45), the latter at most coef_clip."""
    expected = [0.55 * 0.75 / 1.05, 0.5 * 0.75 / 1.05, 0.75, -0.45]
    assert shaped(step_norm="equal_step_sum") == pytest.approx(expected, rel=1e-5)
    clipped = shaped(step_norm="equal_step_sum", coef_clip=1.5)
    assert clipped == pytest.approx([*expected[:2], 0.45 * 1.5, -0.45], rel=1e-5)


def test_metrics_match_hand_worked_values() -> None:
    """Gaps ln 3, 0, ln 3, ln 3; weights 1.2, 1, 0.8, 0.8; three clipped; spread 0.525 / 0.4875 - 1."""
    metrics = run().metrics
    assert metrics["gap_abs"] == pytest.approx(0.75 * LN3)
    assert metrics["weight"] == pytest.approx((1.2 + 1.0 + 0.8 + 0.8) / 4)
    assert metrics["weight_clipped"] == pytest.approx(0.75)
    assert metrics["step_spread_mixed"] == pytest.approx(0.525 / 0.4875 - 1, rel=1e-4)
    assert metrics["step_spread"] == pytest.approx(0.0, abs=1e-5)


def test_the_action_span_leaves_the_rest_of_the_turn_alone() -> None:
    """Reasoning keeps the advantage; steps without an action are no steps to equalise."""
    turns = (turn(3, LN3, action=(1, 3)), turn(2, -LN3, action=(0, 1)), turn(1, LN3, action=(0, 0)))
    batch = build([Attempt(0, 1.0, turns), Attempt(0, 0.0, (turn(1, 0.0, action=(0, 1)),))])
    method = credit.make("step_opsd", span="action", step_norm="none", **HALF)
    got = [value for step in by_step(batch, method(batch).advantages) for value in step]
    assert got == pytest.approx([0.5, 0.55, 0.55, 0.45, 0.5, 0.5, -0.5])
    # mu over actions: (0.55, 0.45), their mean 0.5
    equal = credit.make("step_opsd", span="action", **HALF)(batch)
    got = [value for step in by_step(batch, equal.advantages) for value in step]
    assert got == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, -0.5], rel=1e-5)


def test_the_answer_spans_weigh_answers_alone() -> None:
    """The reasoning of the answering step, and the other step, keep the advantage."""
    turns = (turn(2, LN3, action=(0, 2)), turn(2, LN3, action=(1, 2), kind="answer"))
    batch = build([Attempt(0, 1.0, turns), Attempt(0, 0.0, (turn(1, 0.0, action=(0, 1)),))])
    for span in ("answer", "final_answer"):
        method = credit.make("step_opsd", span=span, step_norm="none", **HALF)
        got = [value for step in by_step(batch, method(batch).advantages) for value in step]
        assert got == pytest.approx([0.5, 0.5, 0.5, 0.55, -0.5])


@given(
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.floats(0, 0.9),
    st.sampled_from(["sigmoid", "exp"]),
    st.sampled_from(["turn", "action"]),
)
@steady
def test_signs_are_kept_and_the_change_is_bounded(
    seed: int, mix: float, alpha: float, weight: str, span: str
) -> None:
    """|A' - A| <= lambda alpha |A|, the paper's claim, before the normaliser."""
    batch = random_batch(seed).to(dtype=torch.float64)
    base = credit.make("grpo")(batch).advantages
    fields: dict[str, Any] = {"lambda_mix": mix, "alpha_clip": alpha, "weight": weight, "span": span}
    got = credit.make("step_opsd", step_norm="none", **fields)(batch).advantages
    assert torch.equal(got.sign(), base.sign())
    assert ((got - base).abs() <= mix * alpha * base.abs() + 1e-12).all()


@given(st.integers(0, 10_000), st.floats(0.01, 1), st.floats(0.01, 0.3))
@steady
def test_equal_step_mean_abs_makes_steps_equal_and_keeps_signs(seed: int, mix: float, alpha: float) -> None:
    """Within the bounds of the coefficients, which so small an alpha never reaches."""
    batch = random_batch(seed).to(dtype=torch.float64)
    result = credit.make("step_opsd", lambda_mix=mix, alpha_clip=alpha)(batch)
    assert torch.equal(result.advantages.sign(), credit.make("grpo")(batch).advantages.sign())
    assert result.metrics["step_spread"] == pytest.approx(0.0, abs=1e-5)
    audit_credit(batch, result)


def test_a_mask_shifted_by_one_a_flipped_sign_and_a_swapped_teacher_are_seen() -> None:
    """Each changes the hand-worked values."""
    right = run().advantages
    tokens = BATCH.tokens
    assert tokens.teacher_logprobs is not None and tokens.student_logprobs is not None
    method = credit.make("step_opsd", **HALF)
    swapped = BATCH.with_columns(
        student_logprobs=tokens.teacher_logprobs, teacher_logprobs=tokens.student_logprobs
    )
    shifted = BATCH.with_columns(teacher_logprobs=tokens.teacher_logprobs.roll(1, dims=1))
    for wrong in (swapped, shifted):
        assert not torch.allclose(method(wrong).advantages, right, atol=1e-3)


def test_a_gap_without_bound_stays_finite() -> None:
    """An impossible token under the teacher saturates the weight."""
    tokens = BATCH.tokens
    assert tokens.student_logprobs is not None
    for far in (-1e30, 0.0):
        impossible = BATCH.with_columns(teacher_logprobs=torch.full_like(tokens.student_logprobs, far))
        for weight in ("sigmoid", "exp"):
            result = credit.make("step_opsd", weight=weight)(impossible)
            audit_credit(impossible, result)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lambda_mix": 1.5}, r"lambda_mix is 1\.5; it must lie in \[0\.0, 1\.0\]"),
        ({"alpha_clip": -0.1}, r"alpha_clip is -0\.1"),
        ({"coef_clip": 0.5}, r"coef_clip is 0\.5; it must lie in \[1\.0, inf\]"),
        ({"weight": "linear"}, "weight is 'linear'; it must be one of sigmoid, exp"),
        ({"step_norm": "equal"}, "step_norm is 'equal'; it must be one of none, equal_step_mean_abs"),
        ({"span": "word"}, "span is 'word'; it must be one of turn, action, answer, final_answer"),
        ({"baseline": "group"}, "baseline is 'group'"),
    ],
)
def test_step_opsd_refuses_what_is_not_allowed(fields: dict[str, Any], message: str) -> None:
    """When it is made, not when it is used."""
    with pytest.raises(ValueError, match=message):
        credit.make("step_opsd", **fields)
