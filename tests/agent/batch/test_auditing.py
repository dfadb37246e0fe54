"""What the audit lets pass and what it catches, among it four published bugs."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from stepopsd_agent import credit, ops
from stepopsd_agent.batch import AuditError, Batch, audit
from stepopsd_agent.credit import Credit, LossTerm, audit_credit
from stepopsd_agent.ops import losses
from tests.helpers.builders import (
    Attempt,
    Layout,
    build,
    padded,
    permuted,
    random_batch,
    steady,
    turn,
    with_steps_of,
)


def pair() -> Batch:
    """A success of two steps and a failure of two steps, [2, 9]: prompt 2, turn 3, seen 1, turn 2, seen 1."""
    turns = (turn(3, 0.1), turn(2, 0.1))
    return build([Attempt(0, 1.0, turns), Attempt(0, 0.0, turns)])


def problems_of(batch: Batch) -> str:
    """The audit's message; fails when there is none."""
    with pytest.raises(AuditError) as caught:
        audit(batch)
    assert len(caught.value.problems) >= 1
    return str(caught.value)


def credit_problems_of(batch: Batch, advantages: Tensor) -> str:
    """Likewise for credit."""
    with pytest.raises(AuditError) as caught:
        audit_credit(batch, Credit(advantages))
    return str(caught.value)


def test_audit_reports_the_sizes() -> None:
    """Of a batch that is right."""
    report = audit(pair())
    assert (report.rows, report.steps, report.episodes, report.group_sizes) == (2, 4, 2, (2,))
    assert (report.tokens, report.action_tokens) == (18, 10)


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize("seed", range(4))
def test_audit_catches_the_four_published_bugs_in_any_batch(seed: int, layout: Layout) -> None:
    """Each made on purpose in a batch that passes; the last one is told even where silent steps are meant."""
    batch = random_batch(seed, layout)
    audit(batch)
    inverted = with_steps_of(batch, torch.where(batch.action_mask, -1, 0))
    assert "step without a token" in problems_of(inverted)
    wide = padded(batch, 0, 2)
    longer = wide.tokens.step_of_token.clone()
    longer[:, -1] = longer.amax(1)
    assert "longer than the ids" in problems_of(with_steps_of(wide, longer))
    advantages = torch.where(batch.action_mask, 1.0, 0.0)
    with pytest.raises(TypeError, match=r"step_of_token is torch\.float32"):
        with_steps_of(batch, advantages)
    episode, step = batch.steps.episode_of_step, batch.tokens.step_of_token.clamp(min=0)
    last = torch.cat([episode[1:] != episode[:-1], torch.tensor([True])])
    last_only = advantages * last[step]
    assert "without any advantage in an episode" in credit_problems_of(batch, last_only)
    meant = audit_credit(batch, Credit(last_only, may_zero_steps=True))
    assert meant.last_step_only == 1.0 and audit_credit(batch, Credit(advantages)).last_step_only == 0.0


@given(st.integers(0, 200), st.sampled_from(["transcript", "window"]))
@steady
def test_audit_passes_any_layout_order_and_padding(seed: int, layout: Layout) -> None:
    """What is right stays right."""
    batch = random_batch(seed, layout)
    order = torch.randperm(batch.num_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    for same in (batch, permuted(batch, order), padded(batch, 1, 2)):
        audit(same)
        audit_credit(same, credit.make("step_opsd")(same))


def test_audit_catches_a_mask_longer_than_the_ids() -> None:
    """Published bug: the response mask runs on into padding, or beyond the last column."""
    batch = padded(pair(), 0, 2)
    step = batch.tokens.step_of_token.clone()
    step[0, 8:] = 1
    assert "longer than the ids (it selects padding) in row 0" in problems_of(with_steps_of(batch, step))
    with pytest.raises(ValueError, match=r"step_of_token has shape \(2, 12\)"):
        with_steps_of(batch, torch.nn.functional.pad(batch.tokens.step_of_token, (0, 1), value=-1))


def test_audit_catches_an_inverted_mask() -> None:
    """Published bug: prompt and observations are trained on, the policy's own tokens are not."""
    batch = pair()
    inverted = torch.where(batch.action_mask, -1, torch.tensor([[0], [2]]))
    message = problems_of(with_steps_of(batch, inverted))
    assert "step without a token" in message
    every_step = torch.tensor([[0, 0, -1, -1, -1, 1, -1, -1, 1], [2, 2, -1, -1, -1, 3, -1, -1, 3]])
    message = problems_of(with_steps_of(batch, every_step))
    assert "begins with a sampled token" in message and "not 0 where nothing was sampled" in message
    right = credit.make("grpo")(batch).advantages
    assert "did not sample" in credit_problems_of(batch, torch.where(batch.action_mask, 0, right.max()))


def test_audit_catches_advantages_passed_as_the_mask() -> None:
    """Published bug: arguments swapped; everything that takes a mask refuses what is not bool."""
    batch = pair()
    advantages = credit.make("grpo")(batch).advantages
    with pytest.raises(TypeError, match=r"step_of_token is torch\.float32"):
        with_steps_of(batch, advantages)
    with pytest.raises(TypeError, match="is it a mask"):
        losses.token_weights(advantages, "token-mean")
    with pytest.raises(TypeError, match=r"must be torch\.bool"):
        ops.masked_mean(batch.tokens.old_logprobs, advantages)
    assert problems_of(with_steps_of(batch, advantages.long()))
    with pytest.raises(AuditError, match="must be a floating type"):
        audit_credit(batch, Credit(batch.action_mask))


def test_audit_catches_credit_on_the_last_step_only() -> None:
    """Published bug: only the last step of an episode gets an advantage."""
    batch = pair()
    right = credit.make("grpo")(batch).advantages
    last_only = torch.where((batch.tokens.step_of_token == 1) | (batch.tokens.step_of_token == 3), right, 0)
    message = credit_problems_of(batch, last_only)
    assert "step 0, 2 without any advantage in an episode that has some" in message
    meant = audit_credit(batch, Credit(last_only, may_zero_steps=True))
    assert (meant.steps_with_credit, meant.silent_steps) == (2, (0, 2))


def test_audit_catches_a_mask_shifted_by_one() -> None:
    """In either direction: a recorded log-probability stands outside it."""
    batch = pair()
    for shift in (1, -1):
        shifted = batch.tokens.step_of_token.roll(shift, dims=1)
        assert "shifted mask?" in problems_of(with_steps_of(batch, shifted))


def test_audit_catches_swapped_and_broken_spans() -> None:
    """Steps in the wrong order, in two pieces, in a stranger's row, or without tokens."""
    batch = pair()
    swapped = batch.tokens.step_of_token.clone()
    swapped[0] = torch.tensor([-1, -1, 1, 1, 1, -1, 0, 0, -1])
    assert "steps go backwards in row 0" in problems_of(with_steps_of(batch, swapped))
    broken = batch.tokens.step_of_token.clone()
    broken[1, 3] = -1
    assert "step 2 is not one run of neighbouring tokens" in problems_of(with_steps_of(batch, broken))
    foreign = torch.tensor([[-1, -1, 0, 0, 0, -1, 3, 3, -1], [-1, -1, 2, 2, 2, -1, 1, 1, -1]])
    assert "steps of different episodes share row 0, 1" in problems_of(with_steps_of(batch, foreign))
    silent = batch.tokens.step_of_token.clone()
    silent[silent == 3] = -1
    assert "step without a token 3" in problems_of(with_steps_of(batch, silent))


def test_audit_catches_a_step_that_begins_elsewhere_than_the_one_before_led() -> None:
    """Keys of another batch, or shifted by one step."""
    batch = pair()
    assert batch.steps.next_state is not None
    torn = replace(batch, steps=replace(batch.steps, next_state=batch.steps.next_state + 1))
    assert "next_state differs from the next step's state at step 0, 2" in problems_of(torn)


def test_audit_catches_links_that_point_nowhere() -> None:
    """Ids out of range, tables out of order, groups with holes."""
    batch = pair()
    beyond = batch.tokens.step_of_token.clone()
    beyond[0, 2] = 4
    assert "tokens.step_of_token must lie in -1..3, got -1..4" in problems_of(with_steps_of(batch, beyond))
    steps = replace(batch.steps, episode_of_step=torch.tensor([0, 0, 0, 0]))
    message = problems_of(replace(batch, steps=steps))
    assert "episode without a step 1" in message and "not sorted by (episode, index): step 2" in message
    groups = replace(batch.episodes, group_of_episode=torch.tensor([1, 1]))
    assert "group without an episode 0" in problems_of(replace(batch, episodes=groups))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), 0.5])
def test_audit_catches_log_probabilities_that_are_none(bad: float) -> None:
    """Of the sampling policy and of whoever scored the tokens later."""
    batch = pair()
    for name, column in (
        ("old_logprobs", batch.tokens.old_logprobs),
        ("teacher_logprobs", batch.tokens.teacher_logprobs),
    ):
        assert column is not None
        wrong = column.clone()
        wrong[0, 3] = bad
        assert f"{name} has 1 sampled tokens" in problems_of(batch.with_columns(**{name: wrong}))


def test_audit_lets_a_nearly_certain_token_pass() -> None:
    """Rounding puts it a little above 0."""
    batch = pair()
    old = batch.tokens.old_logprobs.clone()
    old[0, 3] = 1e-6
    audit(batch.with_columns(old_logprobs=old))


def test_audit_catches_returns_and_positions_that_are_none() -> None:
    """Every fault is named at once."""
    batch = pair()
    episodes = replace(batch.episodes, episode_return=torch.tensor([float("nan"), 0.0]))
    tokens = replace(batch.tokens, position_ids=batch.tokens.position_ids + 1)
    message = problems_of(replace(batch, episodes=episodes, tokens=tokens))
    assert "episode_return is not finite at [0]" in message
    assert "position_ids do not count the tokens in row 0, 1" in message


def test_audit_credit_catches_what_is_no_constant_number() -> None:
    """Shape, gradient, infinity; of advantages and of loss terms."""
    batch = pair()
    right = credit.make("grpo")(batch).advantages
    assert "has shape (9,)" in credit_problems_of(batch, right[0])
    assert "carries a gradient" in credit_problems_of(batch, right.clone().requires_grad_())
    infinite = right.clone()
    infinite[0, 2] = torch.inf
    assert "1 values that are not finite" in credit_problems_of(batch, infinite)
    term = LossTerm("extra", losses.k3_kl, torch.ones_like(right))
    with pytest.raises(AuditError, match="weights of extra is not 0 at 8 tokens"):
        audit_credit(batch, Credit(right, terms=(term,)))


def test_audit_credit_reports_where_credit_lies() -> None:
    """By kind of token and by step: thoughts have 1 of 4 units of credit and 2 of 6 tokens.

    The first episode's steps have 3 and 1 of its units, the second has one step and no credit.
    """
    turns = (turn(2, action=(1, 2)), turn(1, action=(0, 1), kind="search"))
    batch = build([Attempt(0, 1.0, turns), Attempt(0, 0.0, (turn(3, action=(0, 2), kind="answer"),))])
    advantages = torch.zeros_like(batch.tokens.old_logprobs)
    advantages[batch.tokens.step_of_token == 0] = torch.tensor([1.0, 2.0])
    advantages[batch.tokens.step_of_token == 1] = -1.0
    report = audit_credit(batch, Credit(advantages))
    assert report.kind_shares == pytest.approx({"thought": 1 / 4, "act": 2 / 4, "search": 1 / 4, "answer": 0})
    assert report.token_shares == pytest.approx(
        {"thought": 2 / 6, "act": 1 / 6, "search": 1 / 6, "answer": 2 / 6}
    )
    assert report.step_shares == pytest.approx((3 / 4, 1 / 4, 0))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert report.step_entropy == pytest.approx(entropy)
    assert report.metrics["share_search"] == 1 / 4 and report.metrics["step_entropy"] == report.step_entropy
    one_step = torch.where(batch.tokens.step_of_token == 0, advantages, 0)
    assert audit_credit(batch, Credit(one_step, may_zero_steps=True)).step_entropy == pytest.approx(0.0)
    nothing = audit_credit(batch, Credit(torch.zeros_like(advantages)))
    assert (nothing.step_entropy, nothing.kind_shares, nothing.step_shares) == (1.0, {}, (0.0, 0.0, 0.0))


@given(st.integers(0, 200))
@steady
def test_audit_credit_reports_the_same_in_any_layout_order_and_padding(seed: int) -> None:
    """Shares belong to steps and kinds of token, not to rows."""
    batch = random_batch(seed)
    expected = audit_credit(batch, credit.make("step_opsd")(batch))
    order = list(range(batch.num_rows))[::-1]
    for same in (random_batch(seed, "window"), padded(batch, 2, 3), permuted(batch, order)):
        report = audit_credit(same, credit.make("step_opsd")(same))
        assert report.metrics == pytest.approx(expected.metrics, rel=1e-6)
        assert report.step_shares == pytest.approx(expected.step_shares, rel=1e-6)
