"""Every method trains: the trainer fills the columns it needs, counts them, and resumes with them."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from tests.helpers.runs import run_config, taught


def trainer(name: str, **settings: Any) -> Trainer:
    """A run of this method that has not begun."""
    policy = taught()
    rollout_settings = {"mc_rollouts": 1, "tasks": 1, **settings.pop("rollout", {})}
    config = run_config(env={"oracle": True}, rollout=rollout_settings, **settings)
    return Trainer(config, credit.make(name), policy)


@pytest.mark.samples
@pytest.mark.parametrize(
    "name", [name for name in credit.names() if "gold_answer_logprob" not in credit.make(name).needs]
)
def test_every_method_trains(name: str) -> None:
    """An update with what it needs filled in changes the weights, and its numbers are finite."""
    one = trainer(name)
    before = one.policy.state()
    _, metrics, _ = one.step()
    assert all(value == value and abs(value) < 1e6 for value in metrics.values())
    assert any(not torch.equal(before[key], value) for key, value in one.policy.state().items())
    assert one.counters.scored > 0 or one.config.learner.kl_coef == 0


@pytest.mark.samples
def test_a_run_with_a_critic_resumes_to_the_bit() -> None:
    """Its weights and optimizer are part of the checkpoint."""
    one, two = trainer("turn_gae"), trainer("turn_gae")
    one.step()
    restore_trainer(two, deepcopy(trainer_tensors(one)), deepcopy(trainer_state(one)))
    (_, first, _), (_, second, _) = one.step(), two.step()
    assert first == second and "update/value_loss" in first
    assert one.critic is not None and two.critic is not None
    for mine, theirs in zip(one.critic.parameters, two.critic.parameters, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.samples
def test_monte_carlo_attempts_are_counted() -> None:
    """As tokens generated and environment steps taken."""
    plain, vine = trainer("grpo"), trainer("vine")
    plain.step(), vine.step()
    assert vine.counters.generated > plain.counters.generated
    assert vine.counters.env_steps > plain.counters.env_steps
