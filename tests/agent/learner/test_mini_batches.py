"""How an update is divided into mini-batches, and what each of them counts for."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from stepopsd_agent.config import Aggregation
from stepopsd_agent.credit import LossTerm
from stepopsd_agent.learner import Learner
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
