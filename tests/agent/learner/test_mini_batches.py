"""How an update is divided into mini-batches, and what each of them counts for."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from stepopsd_agent.config import Aggregation, UpdateConfig
from stepopsd_agent.credit import LossTerm
from stepopsd_agent.learner import Learner
from stepopsd_agent.learner.mini_batches import loss_weights, mini_batches
from stepopsd_agent.ops import losses
from tests.agent.learner.test_learner import batch_for, credit_for, gradients
from tests.helpers.builders import padded
from tests.helpers.models import tiny


@pytest.mark.parametrize("count", [1, 2, 5, 8, 20])
def test_further_losses_count_the_same_in_however_many_mini_batches(count: int) -> None:
    """At rate 0 the mean of a term over the mini-batches is the term of the whole batch: 9 rows in 8, too."""
    policy = tiny("float64")
    batch = batch_for(policy, episodes=9)
    weights = losses.token_mean(batch.action_mask, torch.float64)
    term = LossTerm("far", lambda logprobs: -logprobs, weights)
    credit = replace(credit_for(batch), terms=(term,))
    expected = float(-(weights * batch.tokens.old_logprobs).sum())
    steps = []
    learner = Learner(policy, lr=0.0, weight_decay=0.0, kl_coef=0.0, mini_batches=count)
    learner.optimizers[0].register_step_post_hook(lambda *_: steps.append(1))
    stats = learner.update(batch, credit)
    assert stats["term_far"] == pytest.approx(expected, rel=1e-5)
    assert len(steps) == min(count, 9)
    assert stats.get("mini_batches") == (9 if count > 9 else None)


@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_gradients_do_not_depend_on_rows_and_padding(aggregation: str) -> None:
    """A row per episode, a row per step, and rows with padding behind them: one gradient each (float64)."""
    policy = tiny("float64")
    transcript, window = batch_for(policy, "transcript"), batch_for(policy, "window")
    wider = padded(transcript, 0, transcript.action_mask.shape[1])
    expected = gradients(policy, transcript, aggregation=aggregation)
    for other in (window, wider):
        found = gradients(policy, other, aggregation=aggregation)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], atol=1e-7, rtol=1e-5)


def test_the_constant_of_the_norm_is_a_setting() -> None:
    """Half the horizon is twice the gradient."""
    policy = tiny("float64")
    batch, name = batch_for(policy), "seq-mean-token-sum-norm"
    one, half = (gradients(policy, batch, aggregation=name, horizon=size) for size in (64, 32))
    for weight in one:
        torch.testing.assert_close(half[weight], 2 * one[weight])


def test_the_constant_of_the_norm_is_used_as_it_is() -> None:
    """Each token weighs 1 / (episodes * constant), in rows of episodes and in rows of steps."""
    for layout in ("transcript", "window"):
        batch = batch_for(tiny(), layout, episodes=5)
        config = UpdateConfig(aggregation="seq-mean-token-sum-norm", horizon=64)
        weights = loss_weights(batch, torch.arange(len(batch.action_mask)), config)
        expected = torch.where(batch.action_mask, 1 / (5 * 64), 0.0)  # 1/320
        torch.testing.assert_close(weights, expected, rtol=1e-6, atol=0)
    assert UpdateConfig().horizon == 4096


def test_mini_batches_mix_groups_by_a_keyed_permutation() -> None:
    """Equal seeds give equal parts, others others; each episode is in one part, and parts are even."""
    batch = batch_for(tiny(), episodes=12)
    credit = credit_for(batch)
    one, again, other = (mini_batches(batch, credit, 3, seed)[0] for seed in ("7/1", "7/1", "7/2"))
    assert all(torch.equal(part, same) for part, same in zip(one, again, strict=True))
    assert any(not torch.equal(part, different) for part, different in zip(one, other, strict=True))
    assert [len(part) for part in one] == [4, 4, 4] and torch.cat(one).sort().values.tolist() == [*range(12)]
    halves = torch.stack([torch.cat(mini_batches(batch, credit, 2, seed)[0][:1]) for seed in range(40)])
    share = (halves[:, :, None] == torch.arange(12)).sum((0, 1)) / 40  # of the draws in the first half
    assert ((share > 0.2) & (share < 0.8)).all()
    whole = mini_batches(batch, credit, 1, 5)[0]
    assert [part.tolist() for part in whole] == [[*range(12)]]


def test_mini_batches_hold_the_same_episodes_in_rows_of_steps() -> None:
    """A row per step: all rows of an episode are in one part, the part of its row per episode."""
    transcript, window = (batch_for(tiny(), layout, episodes=7) for layout in ("transcript", "window"))
    by_episode = mini_batches(transcript, credit_for(transcript), 3, 0)[0]
    by_step = mini_batches(window, credit_for(window), 3, 0)[0]
    for rows, steps in zip(by_episode, by_step, strict=True):
        assert steps.tolist() == [3 * row + k for row in rows.tolist() for k in range(3)]


def test_updates_in_mini_batches_differ_by_their_seed_alone() -> None:
    """Through the learner."""
    policy = tiny()
    batch, before = batch_for(policy, episodes=8), policy.state()

    def after(seed: int | str) -> torch.Tensor:
        policy.load_state(before)
        Learner(policy, lr=1e-3, kl_coef=0.0, mini_batches=4).update(batch, credit_for(batch), seed=seed)
        return torch.cat([weight.flatten() for weight in policy.state().values()])

    assert torch.equal(after("a"), after("a")) and not torch.equal(after("a"), after("b"))
