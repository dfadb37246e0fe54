"""How an update is divided into mini-batches, and what each of them counts for."""

from dataclasses import replace

import pytest
import torch

from stepopsd_agent.credit import LossTerm
from stepopsd_agent.learner import Learner
from stepopsd_agent.ops import losses
from tests.agent.learner.test_learner import batch_for, credit_for
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
