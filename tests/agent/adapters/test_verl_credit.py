"""Credit methods in verl's form of an estimator, against the same methods on whole batches; without verl."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.adapters import estimator, outcome_batch, outcome_methods, record_advantages
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.rollout import SamplingParams, groups, rollout
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode
from tests.helpers.builders import build, few, random_attempts
from tests.helpers.models import tiny
from tests.helpers.runs import draw_until, run_config


def paid_batch(seed: int) -> Batch:
    """Random episodes with the environment's tokens after each step, whose return is what the steps paid."""
    attempts = []
    for attempt in random_attempts(seed):
        turns = tuple(replace(turn, seen=turn.seen + 1) for turn in attempt.turns)
        paid = sum(turn.reward for turn in turns)
        attempts.append(replace(attempt, turns=turns, episode_return=paid))
    return build(attempts)


def as_verl_has_it(batch: Batch) -> tuple[Tensor, Tensor, list[str]]:
    """Rewards at the last sampled token of each step, mask and groups; a row per episode, without prompts."""
    mask = batch.action_mask.int()
    rewards = torch.zeros(mask.shape)
    for step in range(batch.num_steps):
        row, place = (batch.tokens.step_of_token == step).nonzero()[-1].tolist()
        rewards[row, place] = batch.steps.reward[step]
    return rewards, mask, [f"uid-{int(group)}" for group in batch.episodes.group_of_episode]


def test_verl_estimators_are_those_that_read_outcomes_alone() -> None:
    """The rest need texts, states, a teacher or a critic."""
    assert outcome_methods() == ("dr_grpo", "grpo", "reinforce_pp", "rloo")


def test_outcome_batch_finds_the_steps() -> None:
    """Runs of sampled tokens; a reward belongs to the latest step, or the first one before any."""
    mask = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    rewards = torch.tensor([[1.0, 2, 4, 8, 16, 32], [1, 0, 0, 0, 0, 64], [0] * 6, [0, 3, 0, 0, 0, 0]])
    batch = outcome_batch(rewards, mask, ["b", "a", "b", "a"])
    expected = [[-1, 0, 0, -1, 1, -1], [2, -1, -1, 3, 3, 3], [-1] * 6, [4, 4, -1, -1, -1, -1]]
    assert batch.tokens.step_of_token.tolist() == expected
    assert batch.steps.reward.tolist() == [1 + 2 + 4 + 8, 16 + 32, 1, 64, 3]
    assert batch.steps.episode_of_step.tolist() == [0, 0, 1, 1, 3]
    assert batch.steps.index_in_episode.tolist() == [1, 2, 1, 2, 1]
    assert batch.episodes.group_of_episode.tolist() == [0, 1, 0, 1]
    assert batch.episodes.episode_return.tolist() == [63, 65, 0, 3]


@pytest.mark.parametrize("name", ["dr_grpo", "grpo", "reinforce_pp", "rloo"])
@given(seed=st.integers(0, 10_000))
@settings(few)
def test_verl_estimators_give_the_methods_own_advantages(name: str, seed: int) -> None:
    """On batches of several groups and steps, with rewards at any step."""
    batch = paid_batch(seed)
    rewards, mask, groups = as_verl_has_it(batch)
    whole = credit.make(name)(batch).advantages
    got, returns = estimator(credit.make(name))(
        token_level_rewards=rewards, response_mask=mask, index=groups, config=None, reward_baselines=None
    )
    assert torch.allclose(got, whole, atol=1e-6) and torch.equal(got, returns)


def test_verl_estimators_refuse_what_verl_does_not_tell() -> None:
    """With the methods that can be had."""
    with pytest.raises(
        ValueError, match=r"StepOPSD needs student_logprobs, teacher_logprobs.* dr_grpo, grpo"
    ):
        estimator(credit.make("step_opsd"))
    with pytest.raises(ValueError, match="GiGPO reads the states or texts of the steps"):
        estimator(credit.make("gigpo"))
    with pytest.raises(ValueError, match=r"rewards are \(2, 3\), the mask is \(2, 4\)"):
        outcome_batch(torch.zeros(2, 3), torch.ones(2, 4), "ab")
    with pytest.raises(ValueError, match="no token of the batch was sampled"):
        outcome_batch(torch.zeros(2, 3), torch.zeros(2, 3), "ab")


def test_verl_estimators_refuse_settings_of_verl_that_they_do_not_read() -> None:
    """Of the section that verl hands on; what the method itself says already is no contradiction."""
    rewards, mask = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.ones(2, 2, dtype=torch.int)

    def advantages(method: str, config: object, **settings: object) -> Tensor:
        of = estimator(credit.make(method, **settings))
        return of(token_level_rewards=rewards, response_mask=mask, index="aa", config=config)[0]

    usual = SimpleNamespace(norm_adv_by_std_in_grpo=True, gamma=1.0)
    plain = SimpleNamespace(norm_adv_by_std_in_grpo=False, gamma=1.0)
    assert torch.equal(advantages("grpo", usual), advantages("grpo", None))
    with pytest.raises(ValueError, match=r"algorithm.norm_adv_by_std_in_grpo is False, which GRPO does not"):
        advantages("grpo", plain)
    assert torch.equal(advantages("grpo", plain, std=False), advantages("grpo", None, std=False))
    with pytest.raises(ValueError, match=r"algorithm.gamma is 0.9, which Reinforce\w+ does not .*gamma=0.9"):
        advantages("reinforce_pp", SimpleNamespace(gamma=0.9))
    assert torch.equal(advantages("dr_grpo", plain), advantages("dr_grpo", None))  # as it is anyway
    assert advantages("reinforce_pp", SimpleNamespace(gamma=0.9), gamma=0.9).shape == mask.shape


@pytest.mark.samples
def test_record_advantages_refuse_a_row_that_goes_on_after_its_record() -> None:
    """Its last tokens would have no advantage, and nobody would notice."""
    env, params = make_stack(run_config().env), SamplingParams(max_tokens=4, max_row_tokens=512)
    episodes = rollout(tiny(), [env], groups(env, count=1, size=2, seed=0), params)
    batch = collate(episodes)
    start = int(batch.action_mask.any(0).int().argmax())  # one prompt for both
    mask = torch.nn.functional.pad(batch.action_mask[:, start:].int(), (0, 3))
    ids = torch.nn.functional.pad(batch.tokens.input_ids[:, start:], (0, 3))
    records = [episode.to_json() for episode in episodes]
    assert record_advantages(records, ["a", "a"], mask, credit.make("grpo"), ids).shape == mask.shape
    mask[1, -1] = 1
    with pytest.raises(ValueError, match="row 1 of verl is not that of its record"):
        record_advantages(records, ["a", "a"], mask, credit.make("grpo"), ids)


@pytest.mark.samples
def test_record_advantages_refuse_swapped_rows_with_the_same_mask() -> None:
    """The ids tell them apart."""
    env, params = make_stack(run_config().env), SamplingParams(max_tokens=4, max_row_tokens=512)

    def draw(seed: int) -> list[Episode]:
        return rollout(tiny(), [env], groups(env, count=1, size=2, seed=0), params, seed=seed)

    def alike(episodes: list[Episode]) -> bool:
        one, other = collate(episodes).action_mask
        ids = collate(episodes).tokens.input_ids
        return torch.equal(one, other) and not torch.equal(ids[0], ids[1])

    episodes = draw_until(draw, alike, most=50)
    batch, method = collate(episodes), credit.make("grpo")
    start = int(batch.action_mask.any(0).int().argmax())
    mask, ids = batch.action_mask[:, start:], batch.tokens.input_ids[:, start:]
    ids = torch.nn.functional.pad(ids, (0, 3), value=7)  # as verl pads
    mask = torch.nn.functional.pad(mask, (0, 3))
    records = [episode.to_json() for episode in episodes]
    assert record_advantages(records, ["a", "a"], mask, method, ids).shape == mask.shape
    with pytest.raises(ValueError, match="row 0 of verl is not that of its record"):
        record_advantages(records, ["a", "a"], mask, method, ids.flip(0))
