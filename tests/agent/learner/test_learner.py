"""The policy update."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent.batch import Batch, batch_from_lists
from stepopsd_agent.config import LoraConfig
from stepopsd_agent.credit import Credit
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Policy, Scorer
from tests.helpers.models import DType, gradients_of, tiny

STEP = {"reward": 0.0, "anchor": 0, "state": 0, "valid": True, "kind": 1}


def batch_for(policy: Policy, layout: str = "transcript", episodes: int = 4, seed: int = 0) -> Batch:
    """Random ids in three steps per episode, old log-probs scored by the policy itself.

    Both layouts hold the same contexts: a window row is everything up to and including its step.
    """
    rng = np.random.default_rng(seed)
    rows: list[Any] = []
    steps: list[Any] = []
    for episode in range(episodes):
        ids: list[int] = []
        owner: list[int] = []
        for index in range(1, 4):
            given, acted = int(rng.integers(2, 9)), int(rng.integers(1, 6))
            ids = ids + rng.integers(1, 300, given + acted).tolist()
            mine = [-1] * given + [len(steps)] * acted
            owner = owner + mine
            if layout == "window":
                alone = [-1] * (len(owner) - len(mine)) + mine
                rows.append({"input_ids": ids, "step_of_token": alone, "old_logprobs": [0.0] * len(ids)})
            steps.append({**STEP, "episode_of_step": episode, "index_in_episode": index})
        if layout == "transcript":
            rows.append({"input_ids": ids, "step_of_token": owner, "old_logprobs": [0.0] * len(ids)})
    table: list[Any] = [
        {"group_of_episode": e // 2, "episode_return": float(e % 2), "success": bool(e % 2)}
        for e in range(episodes)
    ]
    batch = batch_from_lists(rows, steps, table)
    return batch.with_columns(old_logprobs=scored(policy, batch))


def scored(policy: Policy, batch: Batch) -> torch.Tensor:
    """The policy's log-probabilities of the action tokens."""
    return batch_logprobs(Scorer(policy, tokens_per_pass=4096), batch)


def credit_for(batch: Batch) -> Credit:
    """An advantage per step, of both signs, the same in every layout."""
    size = torch.tensor([(-1.0) ** s * (1 + s / 10) for s in range(batch.num_steps)])
    return Credit(torch.where(batch.action_mask, size[batch.tokens.step_of_token.clamp_min(0)], 0.0))


def gradients(
    policy: Policy, batch: Batch, credit: Credit | None = None, **settings: Any
) -> dict[str, torch.Tensor]:
    """Gradient of one update, clipping off, before the optimizer moves anything."""
    with_reference = batch.with_columns(
        ref_logprobs=torch.where(batch.action_mask, batch.tokens.old_logprobs - 0.3, 0.0)
    )
    learner = Learner(policy, lr=0.0, weight_decay=0.0, max_grad_norm=1e9, kl_coef=0.1, **settings)
    found = gradients_of(*learner.optimizers)
    learner.update(with_reference, credit or credit_for(batch))
    named = [(n, learner.masters.of(p)) for n, p in policy.model.named_parameters() if p.requires_grad]
    return {name: found[weight] for name, weight in named if weight in found}


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
def test_learner_micro_batches_give_the_whole_gradient(aggregation: str) -> None:
    """One row at a time or all at once: the same gradient (float64)."""
    policy = tiny("float64")
    batch = batch_for(policy)
    whole = gradients(policy, batch, aggregation=aggregation, tokens_per_micro_batch=100_000)
    single = gradients(policy, batch, aggregation=aggregation, tokens_per_micro_batch=1)
    for name in whole:
        torch.testing.assert_close(whole[name], single[name], atol=1e-8, rtol=1e-6)


def test_learner_row_per_step_equals_row_per_episode() -> None:
    """The row layout does not change the gradient, beyond what float32 columns of log-probabilities do."""
    policy = tiny("float64")
    episode = gradients(policy, batch_for(policy, "transcript"))
    step = gradients(policy, batch_for(policy, "window"))
    for name in episode:
        torch.testing.assert_close(episode[name], step[name], atol=1e-7, rtol=1e-5)


def test_learner_moves_log_probs_with_the_advantage() -> None:
    """After an update tokens with positive advantage are likelier and the others less likely, in the mean."""
    policy = tiny()
    batch = batch_for(policy)
    credit = credit_for(batch)
    Learner(policy, lr=1e-3, kl_coef=0.0).update(batch, credit)
    change = scored(policy, batch) - batch.tokens.old_logprobs
    assert change[credit.advantages > 0].mean() > 0 > change[credit.advantages < 0].mean()


@pytest.mark.parametrize("muon_lr", [0.0, 1e-2])
def test_learner_rate_scales_both_optimizers(muon_lr: float) -> None:
    """At rate 0 no weight moves; half the rate is half the learning rate."""
    policy = tiny()
    batch, before = batch_for(policy), policy.state()

    def moved(rate: float, lr: float) -> torch.Tensor:
        policy.load_state(before)
        learner = Learner(policy, lr=lr * 1e-3, muon_lr=lr * muon_lr, kl_coef=0.0, weight_decay=0.0)
        learner.update(batch, credit_for(batch), rate=rate)
        return torch.cat([(w - before[name]).flatten() for name, w in policy.state().items()])

    assert not moved(0.0, 1.0).any()
    torch.testing.assert_close(moved(0.5, 1.0), moved(1.0, 0.5))


def test_learner_ratio_starts_at_one() -> None:
    """Old log-probs of the same weights: nothing is clipped, and the KL to the sampling policy is zero."""
    policy = tiny()
    batch = batch_for(policy)
    stats = Learner(policy, kl_coef=0.0).update(batch, credit_for(batch))
    assert stats["clip_fraction"] == 0
    assert stats["approx_kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("aggregation", ["seq-mean-token-sum", "seq-mean-token-sum-norm"])
def test_learner_figures_are_per_token_where_the_loss_is_a_sum(aggregation: str) -> None:
    """As alarms read them: the policy that sampled and the reference were one nat less sure of all tokens."""
    policy = tiny("float64")
    batch = batch_for(policy)
    far = torch.where(batch.action_mask, batch.tokens.old_logprobs - 1.0, 0)
    batch = batch.with_columns(old_logprobs=far, ref_logprobs=far)
    ahead = Credit(batch.action_mask.to(far.dtype))
    stats = Learner(policy, kl_coef=0.1, aggregation=aggregation).update(batch, ahead)
    assert stats["clip_fraction"] == pytest.approx(1.0, rel=1e-5)
    assert stats["approx_kl"] == pytest.approx(-1.0, rel=1e-5)
    assert stats["kl"] == pytest.approx(math.exp(-1.0), rel=1e-5)  # exp(d) - d - 1 at d = -1


def test_learner_kl_is_to_the_weights_it_began_with() -> None:
    """Zero at the first update, above zero at the second; the weights in training are back in place."""
    policy = tiny()
    batch, before = batch_for(policy), policy.state()
    learner = Learner(policy, lr=1e-3, kl_coef=0.1)
    first, second = (learner.update(batch, credit_for(batch)) for _ in range(2))
    assert first["kl"] == pytest.approx(0, abs=1e-9) and second["kl"] > 1e-6
    assert any(not torch.equal(before[name], weight) for name, weight in policy.state().items())


def test_learner_scores_the_reference_it_is_given_at_the_temperature_of_sampling() -> None:
    """As if its log-probabilities had been in the batch: the same figures, the same weights."""
    teacher = tiny(seed=1)
    batch = batch_for(tiny())
    reference = batch_logprobs(Scorer(teacher, temperature=0.7), batch)
    came_to = []
    for one in (batch, batch.with_columns(ref_logprobs=reference)):
        policy = tiny()
        learner = Learner(policy, reference=teacher.state(), lr=1e-3, kl_coef=0.1)
        stats = learner.update(one, credit_for(one), temperature=0.7)
        came_to.append((stats, policy.state()))
    (first, here), (second, there) = came_to
    assert first == second and first["kl"] > 1e-3
    assert all(torch.equal(weight, there[name]) for name, weight in here.items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", 1e-6, "Learner has no setting 'learning_rate'; it has lr, muon_lr"),
        ("lora", LoraConfig(rank=2), "policy.add_adapter, called before, does that"),
        ("lr_schedule", "linear", "the argument rate of update does that"),
        ("rescore_old", True, "the argument rescore_old of fill does that"),
    ],
)
def test_learner_refuses_a_setting_that_it_does_not_read(name: str, value: Any, message: str) -> None:
    """By its name, and says where it belongs: otherwise it would be ignored without a word."""
    with pytest.raises(TypeError, match=re.escape(message)):
        Learner(tiny(), **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("aggregation", "mean", "aggregation is 'mean'; allowed are token-mean, seq-mean-token-mean"),
        ("attention", "fast", "attention is 'fast'; allowed are auto"),
        ("mini_batches", 0, "mini_batches is 0; the smallest value is 1"),
        ("lr", -1.0, "lr is -1.0; the smallest value is 0"),
        ("lr", "fast", "lr is 'fast'; give a number"),
        ("clip_low", -0.1, "clip_low is -0.1; the smallest value is 0"),
        ("clip_low", 2, "clip_low is 2; the largest value is 1"),
        ("dual_clip", 0.5, "dual_clip is 0.5; the smallest value is 1"),
    ],
)
def test_learner_refuses_values_when_it_is_made(name: str, value: Any, message: str) -> None:
    """Not in the middle of the first update."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Learner(tiny(), **{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_learner_refuses_credit_that_no_method_may_give(value: float) -> None:
    """By name and number, before a weight changes: not finite, or at tokens that were not sampled."""
    policy = tiny()
    batch, before = batch_for(policy), policy.state()
    credit, mask = credit_for(batch), batch.action_mask
    learner = Learner(policy, lr=1e-3, kl_coef=0.0)
    bad = replace(credit, advantages=torch.where(mask, value, 0.0))
    with pytest.raises(ValueError, match=f"advantages has {int(mask.sum())} values that are not finite"):
        learner.update(batch, bad)
    everywhere = replace(credit, advantages=torch.ones_like(credit.advantages))
    with pytest.raises(ValueError, match=f"advantages is not 0 at {int((~mask).sum())} tokens that the pol"):
        learner.update(batch, everywhere)
    assert all(torch.equal(weights, policy.state()[name]) for name, weights in before.items())


def test_learner_skips_a_gradient_that_is_not_finite() -> None:
    """No weight changes, no mean is spoiled, and the update says how many mini-batches were left out."""
    policy = tiny()
    batch = batch_for(policy)
    before = policy.state()
    bad = replace(
        credit_for(batch), advantages=torch.where(batch.action_mask, 3e38, 0.0)
    )  # the gradient overflows
    assert Learner(policy, kl_coef=0.0).update(batch, bad) == {"skipped": 1}
    assert all(torch.equal(before[name], value) for name, value in policy.state().items())


@pytest.mark.parametrize("episode", range(4))
def test_learner_goes_on_with_the_other_mini_batches(episode: int) -> None:
    """One of four is bad: the others train as if it had not been there, and their means are finite."""
    policy = tiny()
    batch = batch_for(policy)
    before, good = policy.state(), credit_for(batch)
    row = torch.arange(4)[:, None] == episode
    bad = replace(good, advantages=torch.where(row & batch.action_mask, 3e38, good.advantages))
    learner = Learner(policy, lr=1e-3, kl_coef=0.0, mini_batches=4)
    stats = learner.update(batch, bad)
    assert stats.pop("skipped") == 1 and all(np.isfinite(value) for value in stats.values())
    assert all(state["step"] == 3 for state in learner.optimizers[0].state.values())
    assert any(not torch.equal(before[name], value) for name, value in policy.state().items())
    assert all(value.isfinite().all() for value in policy.state().values())
    assert "skipped" not in learner.update(batch, good)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 6e-2)])
def test_learner_cuda_agrees_with_cpu(dtype: DType, tolerance: float) -> None:
    """Log-probs, loss and gradients on CUDA are those of the CPU; bfloat16 keeps about three digits."""
    cpu = tiny("float32")
    batch = batch_for(cpu)
    cuda = tiny(dtype, device="cuda")
    on_cuda = batch.to("cuda")
    torch.testing.assert_close(scored(cuda, on_cuda).cpu(), batch.tokens.old_logprobs, atol=tolerance, rtol=0)
    here, there = gradients(cpu, batch), gradients(cuda, on_cuda)
    for name in here:
        difference = (there[name].float().cpu() - here[name]).norm()
        assert difference <= 10 * tolerance * here[name].norm() + 1e-6, name


@pytest.mark.gpu
def test_learner_updates_on_cuda() -> None:
    """One training update in bfloat16 changes the weights and reports finite numbers."""
    policy = tiny("bfloat16", device="cuda")
    batch = batch_for(policy).to("cuda")
    before = policy.state()
    stats = Learner(policy, lr=1e-2, kl_coef=0.0).update(batch, credit_for(batch))
    assert all(np.isfinite(value) for value in stats.values())
    assert any(not torch.equal(before[name], value) for name, value in policy.state().items())
