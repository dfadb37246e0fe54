"""The critic: where it is read, that it learns, that it comes back from a checkpoint."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from stepopsd_agent.config import CriticConfig
from stepopsd_agent.learner import Critic
from stepopsd_agent.models.packed import TokenBudget
from tests.agent.learner.test_learner import batch_for
from tests.helpers.builders import permuted
from tests.helpers.models import gradients_of, tiny


def budget(tokens: int) -> TokenBudget:
    """So many tokens per pass."""
    return TokenBudget(tokens, torch.device("cpu"))


def test_critic_is_read_where_the_step_was_chosen() -> None:
    """Its value depends on what stands before a step, not on the step or what follows; layouts agree."""
    policy = tiny()
    transcript, window = batch_for(policy), batch_for(policy, "window")
    critic = Critic(policy)
    assert (critic.values(transcript, budget(4096)) == 0).all()
    torch.nn.init.normal_(critic.head.weight)
    values = critic.values(transcript, budget(4096))
    for same in (window, permuted(transcript, [2, 0, 3, 1])):
        torch.testing.assert_close(critic.values(same, budget(1)), values, atol=1e-5, rtol=0)
    first = int((transcript.tokens.step_of_token[0] == 0).int().argmax())
    for column, changes in ((first, False), (first - 1, True)):
        ids = transcript.tokens.input_ids.clone()
        ids[0, column] = 301
        other = replace(transcript, tokens=replace(transcript.tokens, input_ids=ids))
        assert (critic.values(other, budget(4096))[0] != values[0]).item() == changes


def test_critic_learns_its_targets_and_comes_back_from_a_checkpoint() -> None:
    """The error falls; restored, it goes on to the bit."""
    policy = tiny()
    batch = batch_for(policy)
    targets = torch.arange(float(batch.num_steps)) / batch.num_steps
    critic = Critic(policy, CriticConfig(lr=3e-3), tokens_per_pass=64)
    errors = [critic.learn(batch, targets)["value_loss"] for _ in range(20)]
    assert errors[0] == pytest.approx(float(targets.square().mean())) and errors[-1] < 0.2 * errors[0]
    copy = Critic(policy, CriticConfig(lr=3e-3), tokens_per_pass=64)
    copy.restore(deepcopy(critic.tensors()), critic.state())
    for one in (critic, copy):
        one.learn(batch, targets)
    assert torch.equal(*(one.values(batch, budget(64)) for one in (critic, copy)))


def test_critic_micro_batches_give_the_whole_gradient() -> None:
    """However rows are cut."""
    policy = tiny("float64")
    batch = batch_for(policy)
    gradients = []
    for tokens in (1, 10_000):
        critic = Critic(policy, CriticConfig(lr=0.0, max_grad_norm=1e9), tokens_per_pass=tokens)
        torch.nn.init.ones_(critic.head.weight)
        found = gradients_of(critic.optimizer)
        critic.learn(batch, torch.ones(batch.num_steps))
        gradients.append(list(found.values()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_critic_skips_a_gradient_that_is_not_finite() -> None:
    """Its weights would never be numbers again."""
    policy = tiny()
    batch = batch_for(policy)
    critic = Critic(policy)
    before = critic.tensors()["critic"]
    targets = torch.full((batch.num_steps,), float("inf"))
    assert critic.learn(batch, targets) == {"value_skipped": 1.0}
    assert all(torch.equal(before[name], weight) for name, weight in critic.tensors()["critic"].items())
    assert "value_loss" in critic.learn(batch, torch.zeros(batch.num_steps))


def test_critic_in_half_precision_learns_by_small_rates_and_comes_back_with_its_copies() -> None:
    """Steps of 1e-5 add up in float32; a checkpoint goes on as if there had been none."""
    policy = tiny("bfloat16")
    batch, config = batch_for(policy), CriticConfig(lr=1e-5)
    critic = Critic(policy, config)
    before = [copy.detach().clone() for copy in critic.masters.trained]
    targets = torch.ones(batch.num_steps)
    for _ in range(20):
        critic.learn(batch, targets)
    moved = [bool((copy != old).any()) for copy, old in zip(critic.masters.trained, before, strict=True)]
    assert sum(moved) > len(moved) / 2
    again = Critic(policy, config)
    again.restore(deepcopy(critic.tensors()), critic.state())
    assert critic.learn(batch, targets) == again.learn(batch, targets)
    for one, other in zip(critic.masters.trained, again.masters.trained, strict=True):
        assert torch.equal(one, other)
