"""Columns that take a model or an environment to fill."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config.run import CriticConfig
from stepopsd_agent.learner.columns import Columns, check_recorded
from stepopsd_agent.learner.critic import Critic
from stepopsd_agent.learner.gold_answers import OPEN, gold_answer_logprobs
from stepopsd_agent.learner.monte_carlo import Branching, Valued, monte_carlo_values
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout.rollout import Sampling, Task, rollout
from stepopsd_agent.run.trainer import Trainer
from stepopsd_agent.tasks.make import make_stack, task_ids
from stepopsd_wrappers import Episode
from tests.agent.learner.test_learner import batch_for
from tests.helpers.builders import permuted
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught

SAMPLING = Sampling("columns", 1.0, 12, 512)


def played(policy: Policy, members: int = 3, **env: Any) -> list[Episode]:
    """Attempts at the one game."""
    config = run_config(env=env)
    envs = [make_stack(config.env) for _ in range(members)]
    tasks = [Task(task_ids(envs[0])[0], seed=0, member=member) for member in range(members)]
    return rollout(policy, make_format(policy, "off", "", False), envs, tasks, SAMPLING)


def test_critic_is_read_where_the_step_was_chosen() -> None:
    """Its value depends on what stands before a step, not on the step or what follows; layouts agree."""
    policy = tiny()
    transcript, window = batch_for(policy), batch_for(policy, "window")
    critic = Critic(policy, CriticConfig())
    assert (critic.values(transcript, tokens_per_pass=4096) == 0).all()
    torch.nn.init.normal_(critic.head.weight)
    values = critic.values(transcript, tokens_per_pass=4096)
    for same in (window, permuted(transcript, [2, 0, 3, 1])):
        torch.testing.assert_close(critic.values(same, tokens_per_pass=1), values, atol=1e-5, rtol=0)
    first = int((transcript.tokens.step_of_token[0] == 0).int().argmax())
    for column, changes in ((first, False), (first - 1, True)):
        ids = transcript.tokens.input_ids.clone()
        ids[0, column] = 301
        other = replace(transcript, tokens=replace(transcript.tokens, input_ids=ids))
        assert (critic.values(other, tokens_per_pass=4096)[0] != values[0]).item() == changes


def test_critic_learns_its_targets_and_comes_back_from_a_checkpoint() -> None:
    """The error falls; restored, it goes on to the bit."""
    policy = tiny()
    batch = batch_for(policy)
    targets = torch.arange(float(batch.num_steps)) / batch.num_steps
    critic = Critic(policy, CriticConfig(lr=3e-3))
    errors = [critic.learn(batch, targets, tokens_per_pass=64)["value_loss"] for _ in range(20)]
    assert errors[0] == pytest.approx(float(targets.square().mean())) and errors[-1] < 0.2 * errors[0]
    copy = Critic(policy, CriticConfig(lr=3e-3))
    copy.restore(deepcopy(critic.tensors()), critic.state())
    for one in (critic, copy):
        one.learn(batch, targets, tokens_per_pass=64)
    assert torch.equal(*(one.values(batch, tokens_per_pass=64) for one in (critic, copy)))


def test_critic_micro_batches_give_the_whole_gradient() -> None:
    """However rows are cut."""
    policy = tiny("float64")
    batch = batch_for(policy)
    gradients = []
    for budget in (1, 10_000):
        critic = Critic(policy, CriticConfig(lr=0.0, max_grad_norm=1e9))
        torch.nn.init.ones_(critic.head.weight)
        critic.learn(batch, torch.ones(batch.num_steps), tokens_per_pass=budget)
        gradients.append([p.grad.clone() for p in critic.parameters if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_gold_answers_are_scored_on_the_history_before_each_step() -> None:
    """Equal to one pass per step; of two spellings the likelier counts."""
    policy = tiny()
    batch = batch_for(policy)
    answers = [["a mug"], ["plate 1", "a fridge"], ["drawer"], ["cabinet 3"]]
    got = gold_answer_logprobs(policy, batch, answers, tokens_per_pass=300)
    assert got.shape == (batch.num_steps,) and (got < 0).all()
    for step in range(batch.num_steps):
        row, column = (batch.tokens.step_of_token == step).nonzero()[0].tolist()
        context = batch.tokens.input_ids[row, :column].tolist() + policy.encode([OPEN])[0]
        means = []
        for answer in answers[int(batch.steps.episode_of_step[step])]:
            target = policy.encode([answer])[0]
            ids = torch.tensor([context + target])
            select = torch.zeros_like(ids, dtype=torch.bool)
            select[0, len(context) :] = True
            with torch.inference_mode():
                means.append(float(policy.token_logprobs(ids, select)[select].mean()))
        assert float(got[step]) == pytest.approx(max(means), abs=1e-5)


def test_monte_carlo_values_are_means_of_fresh_attempts() -> None:
    """First steps of one game share their attempts; all begin where the step was chosen, repeatably."""
    policy = taught()
    form = make_format(policy, "off", "", False)
    envs = [make_stack(run_config().env) for _ in range(8)]
    episodes = played(policy)
    batch = collate(episodes, pad_id=policy.pad_id)

    def estimate() -> Valued:
        return monte_carlo_values(policy, form, envs, episodes, batch, SAMPLING, Branching(2))

    values, attempts, repeated = estimate()
    assert torch.equal(values, estimate().values)
    assert repeated == sum(episode.num_steps - 1 for episode in episodes)  # once each, up to its last step
    first = batch.steps.index_in_episode == 1
    assert len(set(values[first].tolist())) == 1
    begun = {next(step.tokens.prompt_ids for step in a.steps if step.tokens) for a in attempts}
    assert len(attempts) == 2 * len(begun) < 2 * batch.num_steps
    assert set((values * 2).tolist()) <= {0.0, 1.0, 2.0} and 0 < float(values.mean()) < 1
    # Counted from the attempts of one later step: they repeat its past and go on from its very ids.
    step = int((batch.steps.index_in_episode == 2).nonzero()[0])
    origin = episodes[int(batch.steps.episode_of_step[step])]
    own = [a for a in attempts if a.steps[1].tokens is None and a.steps[2].tokens is not None]
    row, column = (batch.tokens.step_of_token == step).nonzero()[0].tolist()
    ids = tuple(batch.tokens.input_ids[row, :column].tolist())
    mine = [a for a in own if a.steps[2].tokens is not None and a.steps[2].tokens.prompt_ids == ids]
    assert [a.steps[1].action for a in mine] == [origin.steps[1].action] * 2
    assert float(values[step]) == sum(a.episode_return for a in mine) / 2


def test_monte_carlo_values_take_the_penalty_off_and_notice_another_state() -> None:
    """A penalty can only lower them; a record of another world is refused."""
    policy = taught()
    form = make_format(policy, "off", "", False)
    envs = [make_stack(run_config().env) for _ in range(4)]
    episodes = played(policy, members=1)
    batch = collate(episodes, pad_id=policy.pad_id)
    plain = monte_carlo_values(policy, form, envs, episodes, batch, SAMPLING, Branching(1))
    fined = monte_carlo_values(policy, form, envs, episodes, batch, SAMPLING, Branching(1, penalty=0.5))
    assert (fined.values <= plain.values).all()
    first = episodes[0].steps[0]
    info = {**first.info, "step": {**first.info["step"], "state": "0" * 16}}
    forged = [replace(episodes[0], steps=(replace(first, info=info), *episodes[0].steps[1:]))]
    with pytest.raises(RuntimeError, match="led to another state than recorded"):
        monte_carlo_values(policy, form, envs, forged, batch, SAMPLING, Branching(1))


def test_recorded_columns_that_are_missing_are_named_with_what_to_do() -> None:
    """Distances come with env.oracle alone."""
    policy = taught()
    known = collate(played(policy, members=1, oracle=True), pad_id=0)
    check_recorded(known, frozenset({"optimal_distance", "last_distance"}))
    assert known.episodes.last_distance is not None and known.steps.optimal_distance is not None
    unknown = collate(played(policy, members=1), pad_id=0)
    with pytest.raises(ValueError, match=r"needs last_distance, .*: set env.oracle to true"):
        check_recorded(unknown, frozenset({"optimal_distance", "last_distance"}))
    with pytest.raises(ValueError, match=r"needs first_gold_seen, .*: choose an environment that knows gold"):
        check_recorded(unknown, frozenset({"first_gold_seen"}))


def test_an_environment_without_gold_answers_is_refused() -> None:
    """It says where they are to be had."""
    policy = taught()
    env = make_stack(run_config().env)
    batch = collate(episodes := played(policy, members=1), pad_id=0)
    budget = TokenBudget(512, policy.device)
    filler = Columns(run_config(), policy, make_format(policy, "off", "", False), frozenset())
    with pytest.raises(ValueError, match=r"needs gold answers, which .* does not have: train it on"):
        filler.fill(batch, episodes, frozenset({"gold_answer_logprob"}), [env], SAMPLING, budget)


def trainer(name: str, **settings: Any) -> Trainer:
    """A run of this method that has not begun."""
    policy = taught()
    rollout_settings = {"mc_rollouts": 1, "tasks": 1, **settings.pop("rollout", {})}
    config = run_config(env={"oracle": True}, rollout=rollout_settings, **settings)
    return Trainer(config, credit.make(name), policy, make_format(policy, "off", "", False))


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


def test_a_run_with_a_critic_resumes_to_the_bit() -> None:
    """Its weights and optimizer are part of the checkpoint."""
    one, two = trainer("turn_gae"), trainer("turn_gae")
    one.step()
    two.restore(deepcopy(one.tensors()), deepcopy(one.state()))
    (_, first, _), (_, second, _) = one.step(), two.step()
    assert first == second and "update/value_loss" in first
    assert one.columns.critic is not None and two.columns.critic is not None
    for mine, theirs in zip(one.columns.critic.parameters, two.columns.critic.parameters, strict=True):
        assert torch.equal(mine, theirs)


def test_monte_carlo_attempts_are_counted() -> None:
    """As tokens generated and environment steps taken."""
    plain, vine = trainer("grpo"), trainer("vine")
    plain.step(), vine.step()
    assert vine.counters.generated > plain.counters.generated
    assert vine.counters.env_steps > plain.counters.env_steps


def test_batches_with_columns_put_in_keep_the_rest() -> None:
    """None leaves a column as it is."""
    batch: Batch = batch_for(tiny())
    with_value = batch.with_steps(value=torch.ones(batch.num_steps))
    both = with_value.with_steps(mc_value=torch.zeros(batch.num_steps))
    assert both.steps.value is not None and both.steps.mc_value is not None and batch.steps.value is None
