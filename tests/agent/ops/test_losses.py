"""Per-token losses."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from stepopsd_agent.config import Aggregation
from stepopsd_agent.ops import distillation, losses
from tests.helpers.builders import random_batch, steady

AGGREGATIONS = get_args(Aggregation)
LOGPROB = st.floats(-30.0, -1e-4)


def row(*numbers: float) -> Tensor:
    """[1, T] in double precision."""
    return torch.tensor([numbers], dtype=torch.float64)


def test_ppo_clip_matches_hand_worked_values() -> None:
    """Both signs, both sides of the interval, and the dual bound."""
    old = row(-1.0, -1.0, -1.0, -1.0, -1.0)
    new = old + row(1.5, 1.5, 0.5, 0.5, 5.0).log()  # the ratios
    advantages = row(2.0, -2.0, 2.0, -2.0, -2.0)
    # A=2,  r=1.5: max(-3, -2*1.2) = -2.4      A=-2, r=1.5: max(3, 2.4) = 3
    # A=2,  r=0.5: max(-1, -2*0.8) = -1        A=-2, r=0.5: max(1, 1.6) = 1.6
    # A=-2, r=5:   max(10, 2.4) = 10, at most 3 * 2 = 6
    expected = row(-2.4, 3.0, -1.0, 1.6, 6.0)
    torch.testing.assert_close(losses.ppo_clip(new, old, advantages), expected)
    # the first is clipped above, the fourth below; the others are on the side that is never clipped
    assert losses.ppo_clipped(new, old, advantages).tolist() == [[True, False, False, True, False]]


def test_ppo_clip_takes_both_widths_and_the_dual_bound() -> None:
    """Each setting is read."""
    old, advantages = row(-1.0, -1.0, -1.0), row(1.0, -1.0, -1.0)
    new = old + row(2.0, 0.1, 3.0).log()
    got = losses.ppo_clip(new, old, advantages, clip_low=0.3, clip_high=0.5, dual_clip=2.0)
    torch.testing.assert_close(got, row(-1.5, 0.7, 2.0))  # -1*(1+0.5); 1*(1-0.3); min(3, 2*1)


def test_ppo_clip_at_the_sampling_policy_is_plain_policy_gradient() -> None:
    """Ratio 1 is a tie of both surrogates, which must not halve or double the gradient."""
    new = row(-0.5, -2.0, -3.0).requires_grad_()
    advantages = row(1.5, -0.5, 0.0)
    loss = losses.ppo_clip(new, new.detach(), advantages)
    torch.testing.assert_close(loss, -advantages)
    (gradient,) = torch.autograd.grad(loss.sum(), new)
    torch.testing.assert_close(gradient, -advantages)


def test_ppo_clip_has_no_gradient_where_clipped_and_none_through_constants() -> None:
    """Only the new log-probabilities learn."""
    old = row(-1.0, -1.0).requires_grad_()
    new = (old.detach() + row(1.5, 1.1).log()).requires_grad_()
    advantages = row(1.0, 1.0).requires_grad_()
    torch.autograd.backward(losses.ppo_clip(new, old, advantages).sum())
    torch.testing.assert_close(new.grad, row(0.0, -1.1))  # -A r inside the interval
    assert old.grad is None and advantages.grad is None


@given(LOGPROB, LOGPROB, st.floats(-5, 5), st.floats(0, 0.9), st.floats(0, 2))
@steady
def test_ppo_clip_is_the_worse_of_both_and_bounded(
    new: float, old: float, advantage: float, low: float, high: float
) -> None:
    """Against the formula in plain numbers."""
    got = losses.ppo_clip(
        row(new), row(old), row(advantage), clip_low=low, clip_high=high, dual_clip=3.0
    ).item()
    ratio = math.exp(min(max(new - old, -20.0), 20.0))
    worse = max(-advantage * ratio, -advantage * min(max(ratio, 1 - low), 1 + high))
    expected = min(worse, -3 * advantage) if advantage < 0 else worse
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ppo_clip_stays_finite_for_an_impossible_token() -> None:
    """One odd token must not make the loss infinite."""
    got = losses.ppo_clip(
        torch.tensor([[-1e4, 0.0]]), torch.tensor([[0.0, -1e4]]), torch.tensor([[1.0, -1.0]])
    )
    assert got.isfinite().all()


def test_a_flipped_sign_or_swapped_arguments_change_the_surrogate() -> None:
    """The golden values would catch either."""
    old, new, advantages = row(-1.0, -1.0), row(-0.5, -1.5), row(1.0, -1.0)
    right = losses.ppo_clip(new, old, advantages)
    assert not torch.allclose(right, losses.ppo_clip(new, old, -advantages))
    assert not torch.allclose(right, losses.ppo_clip(old, new, advantages))


def test_k3_kl_matches_hand_worked_values() -> None:
    """Equal, twice and half as likely under the reference."""
    # d = ref - new: 0 -> 0; ln 2 -> 2 - ln 2 - 1; -ln 2 -> 1/2 + ln 2 - 1
    got = losses.k3_kl(row(-1.0, -2.0, -1.0), row(-1.0, -2.0 + math.log(2), -1.0 - math.log(2)))
    torch.testing.assert_close(got, row(0.0, 1 - math.log(2), math.log(2) - 0.5))


@given(LOGPROB, LOGPROB)
@steady
def test_k3_kl_is_never_negative_and_at_most_its_bound(new: float, ref: float) -> None:
    """As its name promises."""
    got = losses.k3_kl(row(new), row(ref)).item()
    assert 0.0 <= got <= losses.MAX_KL


def test_k3_kl_is_unbiased_over_the_policys_own_tokens() -> None:
    """Its mean under the policy is the divergence itself."""
    policy, reference = row(0.5, 0.3, 0.2), row(0.2, 0.3, 0.5)
    kl = (policy * (policy / reference).log()).sum()
    torch.testing.assert_close((policy * losses.k3_kl(policy.log(), reference.log())).sum(), kl)


def test_gated_distillation_matches_hand_worked_values() -> None:
    """Constant gate and sigmoid gate, and the gradient behind them."""
    student = row(-1.0, -1.0).requires_grad_()
    teacher = row(-1.0 + math.log(3), -1.0)
    # beta 0: gate 1/2, so ln(3)/2 and 0; beta 1: gate 3/(1+3) = 3/4
    torch.testing.assert_close(
        distillation.gated_distillation(student, teacher, gate_beta=0.0), row(math.log(3) / 2, 0.0)
    )
    loss = distillation.gated_distillation(student, teacher, gate_beta=1.0)
    torch.testing.assert_close(loss, row(0.75 * math.log(3), 0.0))
    torch.autograd.backward(loss.sum())
    torch.testing.assert_close(student.grad, row(-0.75, -0.5))  # -gate: the gate itself is constant


def test_importance_k3_matches_hand_worked_values() -> None:
    """L = ln 2 and r = 2: 2 (1/2 - 1 + ln 2); nothing where the policy is the teacher, whatever the ratio."""
    new = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    teacher = torch.tensor([[-1.0 - math.log(2), -1.0]])
    old = torch.tensor([[-1.0 - math.log(2), -2.0]])
    got = distillation.importance_k3(new, teacher, old)
    assert got.tolist()[0] == pytest.approx([2 * (math.log(2) - 0.5), 0.0])
    got.sum().backward()  # type: ignore[no-untyped-call]
    # d/dl of r k3 with both factors moving: r (k3 + 1 - e^-l) = 2 (ln 2 - 1/2 + 1/2)
    assert new.grad is not None and new.grad.tolist()[0] == pytest.approx([2 * math.log(2), 0.0], abs=1e-6)
    far = distillation.importance_k3(torch.tensor([[-1e30]]), torch.tensor([[-1.0]]), torch.tensor([[-1.0]]))
    assert far.isfinite().all()


HALVES = torch.tensor([[0.5, 0.5, 0.0]]).clamp(min=1e-30).log()
EDGE = torch.tensor([[0.25, 0.25, 0.5]]).log()
NOTHING = torch.zeros(1)


def whole(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> float:
    """The divergence with the whole vocabulary in view."""
    ids = torch.arange(teacher.shape[1])[None]
    return float(distillation.distribution_jsd(NOTHING, student, ids, teacher, beta=beta))


def test_distribution_jsd_matches_hand_worked_values() -> None:
    """Teacher (1/2, 1/2, 0), student (1/4, 1/4, 1/2)."""
    # KL(T||S) = ln 2
    assert whole(EDGE, HALVES, 0.0) == pytest.approx(math.log(2))
    # m = (3/8, 3/8, 1/4): KL(T||m) = ln 4/3, KL(S||m) = 1/2 ln 2/3 + 1/2 ln 2
    expected = 0.5 * math.log(4 / 3) + 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert whole(EDGE, HALVES, 0.5) == pytest.approx(expected)
    # reverse: KL(S||T) with the roles exchanged is ln 2 again
    assert whole(HALVES, EDGE, 1.0) == pytest.approx(math.log(2))
    assert [whole(EDGE, EDGE, beta) for beta in (0.0, 0.3, 1.0)] == pytest.approx([0.0] * 3, abs=1e-7)


def test_distribution_jsd_lumps_what_the_teacher_leaves_over() -> None:
    """Two of four tokens and the rest as one: the same as the divergence of the lumped distributions."""
    student = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    teacher = torch.tensor([[0.6, 0.3, 0.06, 0.04]]).log()
    ids = torch.tensor([[0, 1]])
    got = distillation.distribution_jsd(NOTHING, student, ids, teacher[:, :2], beta=0.5)
    lumped = whole(torch.tensor([[0.1, 0.2, 0.7]]).log(), torch.tensor([[0.6, 0.3, 0.1]]).log(), 0.5)
    assert float(got) == pytest.approx(lumped, rel=1e-5)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(1, 7))
@steady
def test_distribution_jsd_is_no_less_than_zero_and_its_gradient_is_finite(
    seed: int, beta: float, k: int
) -> None:
    """Lumping can only lose divergence; a gradient step makes it smaller."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher, ids = torch.randn(3, 7, generator=generator, dtype=torch.float64).log_softmax(1).topk(k, dim=1)
    value = distillation.distribution_jsd(torch.zeros(3), logits.log_softmax(1), ids, teacher, beta=beta)
    assert (value >= -1e-12).all()
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient.isfinite().all()
    better = distillation.distribution_jsd(
        torch.zeros(3), (logits - 1e-3 * gradient).log_softmax(1), ids, teacher, beta=beta
    )
    assert better.sum() <= value.sum() + 1e-12


def test_weighted_jsd_clips_the_ratio_and_holds_it_constant() -> None:
    """Ratios 1, 4 and 1/2 count 1, 2 and 1/2."""
    new = torch.zeros(3, requires_grad=True)
    old = -torch.tensor([0.0, math.log(4), -math.log(2)])
    student, teacher = EDGE.expand(3, 3), HALVES.expand(3, 3)
    ids = torch.arange(3).expand(3, 3)
    got = distillation.weighted_jsd(new, student, ids, teacher, old, beta=0.0, ratio_clip=2.0)
    assert got.tolist() == pytest.approx([math.log(2), 2 * math.log(2), math.log(2) / 2])
    assert not got.requires_grad


def test_losses_refuse_bad_settings_and_shapes() -> None:
    """Broadcasting would hide a wrong shape."""
    one, two = torch.zeros(1, 1), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="dual_clip is 1"):
        losses.ppo_clip(one, one, one, dual_clip=1.0)
    with pytest.raises(ValueError, match=r"clip_low is 1\.5"):
        losses.ppo_clip(one, one, one, clip_low=1.5)
    with pytest.raises(ValueError, match=r"clip_high -0\.1"):
        losses.ppo_clipped(one, one, one, clip_high=-0.1)
    with pytest.raises(ValueError, match="shapes must agree"):
        losses.ppo_clip(one, one, two)
    with pytest.raises(ValueError, match="shapes must agree"):
        losses.k3_kl(one, two)


def test_dr_grpo_loss_and_gradient_match_hand_worked_values() -> None:
    """Liu et al. 2025 (arXiv 2503.20783): 1/G of the sum over episodes of 1/L of the sum over tokens.

    L is a constant, here 5: neither the 4 tokens of a row nor the 1 and 3 of the episodes.
    """
    mask = torch.tensor([[True, False, False, False], [False, True, True, True]])
    advantages = torch.tensor([[0.5], [-0.5]], dtype=torch.float64).expand(
        2, 4
    )  # returns 1, 0 less their mean
    old = torch.full((2, 4), -1.0, dtype=torch.float64)
    ratios = torch.tensor([[1.1, 9, 9, 9], [9, 1.0, 0.5, 1.5]], dtype=torch.float64)
    new = (old + ratios.log()).requires_grad_()
    weights = losses.token_weights(mask, "seq-mean-token-sum-norm", horizon=5)
    loss = (weights * losses.ppo_clip(new, old, advantages)).sum()
    # first episode:  -0.5 * 1.1 = -0.55
    # second: 0.5 * 1 + max(0.5 * 0.5, 0.5 * 0.8) + 0.5 * 1.5 = 0.5 + 0.4 + 0.75 = 1.65
    # 1/2 * (-0.55 + 1.65) / 5 = 0.11
    assert loss.item() == pytest.approx(0.11, rel=1e-6)
    torch.autograd.backward(loss)
    # of a token: -A r / (2 * 5), 0 where it is clipped: -0.055; 0.05, 0, 0.075
    expected = torch.tensor([[-0.055, 0, 0, 0], [0, 0.05, 0, 0.075]], dtype=torch.float64)
    assert new.grad is not None
    torch.testing.assert_close(new.grad, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_losses_agree_between_cuda_and_cpu(aggregation: Aggregation) -> None:
    """Loss and gradient, within float32 rounding."""
    here = random_batch(2)
    there = here.to("cuda")
    results = []
    for batch in (here, there):
        student, teacher = batch.tokens.student_logprobs, batch.tokens.teacher_logprobs
        assert student is not None and teacher is not None
        new = student.clone().requires_grad_()
        advantages = torch.where(batch.action_mask, teacher, 0)
        per_token = losses.ppo_clip(new, batch.tokens.old_logprobs, advantages) + losses.k3_kl(new, teacher)
        loss = (losses.token_weights(batch.action_mask, aggregation, horizon=9) * per_token).sum()
        torch.autograd.backward(loss)
        assert new.grad is not None
        results.append((loss.detach().cpu(), new.grad.cpu()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
