"""Methods with a teacher, by hand: RLSD, AgentOPSD, SDAR, GRPO+OPSD, Skill-SD, OPSD, SDPO."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import DistributionTerm, LossTerm, audit_credit
from tests.helpers.builders import Attempt, build, by_step, turn

LN3 = math.log(3)
# Without deviation A is 1/2 and -1/2. The success has gaps (ln 3, 0) and (-ln 3), the failure ln 3.
ATTEMPTS = [Attempt(0, 1.0, (turn(2, (LN3, 0.0)), turn(1, -LN3))), Attempt(0, 0.0, (turn(1, LN3),))]
BATCH = build(ATTEMPTS)


def tokens(batch: Batch, name: str, **fields: Any) -> list[float]:
    """The credit of every token."""
    return [x for step in by_step(batch, credit.make(name, **fields)(batch).advantages) for x in step]


def term_of(batch: Batch, name: str, **fields: Any) -> LossTerm:
    """A method's one further loss on sampled tokens."""
    (term,) = credit.make(name, **fields)(batch).terms
    assert isinstance(term, LossTerm)
    return term


def value_of(batch: Batch, term: LossTerm) -> float:
    """At the student's log-probabilities."""
    assert batch.tokens.student_logprobs is not None
    return float((term.weights * term.function(batch.tokens.student_logprobs, *term.inputs)).sum())


def test_rlsd_weighs_with_the_clipped_ratio() -> None:
    """Exp of the signed gaps is 3, 1, 1/3, 1/3; clipped 1.2, 1, 0.8, 0.8; half of the change counts."""
    assert tokens(BATCH, "rlsd", std=False) == pytest.approx([0.55, 0.5, 0.45, -0.45])
    wide = tokens(BATCH, "rlsd", std=False, alpha_clip=1.0, lambda_mix=1.0)
    assert wide == pytest.approx([1.0, 0.5, 1 / 6, -1 / 6])


def test_rlsd_is_step_opsd_without_its_steps() -> None:
    """The exponential weight, no normaliser."""
    fields: dict[str, Any] = {"lambda_mix": 0.3, "alpha_clip": 0.1}
    step = credit.make("step_opsd", weight="exp", step_norm="none", **fields)(BATCH)
    assert torch.equal(credit.make("rlsd", **fields)(BATCH).advantages, step.advantages)


def test_agent_opsd_matches_hand_worked_values() -> None:
    """Success rate 1/2, so B_0 = 1/2; evidence of the success ln 3, then -ln 3; with gamma 1 it is undone.

    c = ln 3, 0 and B = 3/4, 1/2: revisions 1/4, -1/4, in units of their deviation 1, -1. With b = 0.2 the
    weights are 1.2 and 0.8, half of the change counts. The failure has one step, so no deviation: weight 1.
    """
    assert tokens(BATCH, "agent_opsd", std=False, gamma=1.0) == pytest.approx(
        [0.55, 0.55, 0.45, -0.5], rel=1e-4
    )


def test_agent_opsd_forgets_with_gamma_and_weighs_a_failures_steps_the_other_way() -> None:
    """A failure of evidence ln 3 and 0 with gamma 1/2: c = ln 3, (ln 3) / 2, and sqrt 3 / (1 + sqrt 3) < 3/4.

    Its revisions are 1/4 and negative; the sign turns them, so the first step weighs less (blamed less).
    """
    lost = Attempt(0, 0.0, (turn(1, LN3), turn(1, 0.0)))
    batch = build([Attempt(0, 1.0, (turn(1),)), lost])
    first, second = tokens(batch, "agent_opsd", std=False, gamma=0.5)[1:]
    assert (first, second) == pytest.approx((-0.45, -0.55), rel=1e-4)
    slow = credit.make("agent_opsd", gamma=0.5)(batch).metrics["revision_abs"]
    belief = math.sqrt(3) / (1 + math.sqrt(3))
    assert slow == pytest.approx((0.25 + (0.75 - belief)) / 3, rel=1e-5)


def test_sdar_pulls_more_where_the_teacher_is_surer() -> None:
    """Gaps ln 3, 0, -ln 3, ln 3 behind gates 3/4, 1/2, 1/4, 3/4 for beta = 1; the mean, times coef."""
    expected = 0.01 * (0.75 * LN3 + 0 - 0.25 * LN3 + 0.75 * LN3) / 4
    assert value_of(BATCH, term_of(BATCH, "sdar", gate_beta=1.0)) == pytest.approx(expected)
    grpo = credit.make("grpo", baseline="step")(BATCH).advantages
    assert torch.equal(credit.make("sdar")(BATCH).advantages, grpo)


def test_grpo_opsd_leaves_the_gate_half_open() -> None:
    """Half the mean gap: (ln 3 + 0 - ln 3 + ln 3) / 4 / 2, times 0.01."""
    assert value_of(BATCH, term_of(BATCH, "grpo_opsd")) == pytest.approx(0.01 * LN3 / 8)
    assert credit.make("grpo_opsd").paper != credit.make("sdar").paper


def test_skill_sd_takes_the_weighted_divergence() -> None:
    """At the sampling policy r = 1: e^g - 1 - g over gaps ln 3, 0, -ln 3, ln 3, a mean times 0.001."""
    high, low = 2 - LN3, 1 / 3 - 1 + LN3
    expected = 0.001 * (high + 0 + low + high) / 4
    assert value_of(BATCH, term_of(BATCH, "skill_sd")) == pytest.approx(expected, rel=1e-5)


def test_opsd_takes_the_gap_itself_or_a_loss_of_whole_distributions() -> None:
    """No reward is read: the returns may be anything."""
    assert tokens(BATCH, "opsd", objective="sampled") == pytest.approx([LN3, 0.0, -LN3, LN3])
    result = credit.make("opsd", coef=2.0)(BATCH)
    (term,) = result.terms
    assert isinstance(term, DistributionTerm) and (result.advantages == 0).all()
    assert term.weights[BATCH.action_mask].tolist() == pytest.approx([2 / 4] * 4)
    audit_credit(BATCH, result)


def test_sdpo_learns_only_where_the_teacher_was_informed() -> None:
    """The success read nothing: its tokens are left out, and the mean is over the others."""
    batch = build([replace(ATTEMPTS[0], informed=False), ATTEMPTS[1]])
    assert tokens(batch, "sdpo", objective="sampled") == pytest.approx([0.0, 0.0, 0.0, LN3])
    result = credit.make("sdpo")(batch)
    (term,) = result.terms
    weights = [x for step in by_step(batch, term.weights) for x in step]
    assert weights == [0.0, 0.0, 0.0, 1.0]
    assert result.metrics["informed"] == pytest.approx(1 / 3)
    nobody = build([replace(attempt, informed=False) for attempt in ATTEMPTS])
    assert credit.make("sdpo")(nobody).terms == ()


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("rlsd", {"lambda_mix": 2.0}, r"lambda_mix is 2\.0"),
        ("rlsd", {"alpha_clip": 2.0}, r"alpha_clip is 2\.0"),
        ("agent_opsd", {"prior_eps": 0.0}, r"prior_eps is 0\.0"),
        ("sdar", {"coef": -1.0}, r"coef is -1\.0"),
        ("grpo_opsd", {"gate_beta": -1.0}, r"gate_beta is -1\.0"),
        ("skill_sd", {"baseline": "x"}, "baseline is 'x'"),
        ("opsd", {"beta": 1.1}, r"beta is 1\.1; it must lie in \[0\.0, 1\.0\]"),
        ("opsd", {"objective": "kl"}, "objective is 'kl'; it must be one of jsd, sampled"),
        ("sdpo", {"ratio_clip": -1.0}, r"ratio_clip is -1\.0"),
    ],
)
def test_teacher_methods_refuse_what_is_not_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
