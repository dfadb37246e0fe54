"""What the alarm `flat` counts is what the update learns nothing from, for every method and penalty."""

from dataclasses import replace

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.credit import audit_credit
from stepopsd_agent.rollout import episode_metrics, mixed_groups, whole_groups
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.alarms import measured
from stepopsd_wrappers import Episode
from tests.agent.hindsight.test_prompt import episode
from tests.agent.rollout.test_grouping import refused
from tests.helpers.builders import Attempt, build, turn
from tests.helpers.runs import run_config, taught


def lost(group: int, *steps: tuple[int, ...]) -> list[Episode]:
    """A group of lost episodes of two steps, of which these were refused."""
    return [
        refused(episode(group, member, False, ("look", "go")), *which) for member, which in enumerate(steps)
    ]


def failed(record: Episode) -> Episode:
    """The record, ended by an error of its environment."""
    return replace(record, steps=(*record.steps[:-1], replace(record.steps[-1], error="down")))


def paid(record: Episode, reward: float) -> Episode:
    """The record with this reward for its last step."""
    return replace(record, steps=(*record.steps[:-1], replace(record.steps[-1], reward=reward)))


@pytest.mark.parametrize("name", ["grpo", "rloo", "dr_grpo", "gigpo", "reinforce_pp", "step_opsd"])
def test_groups_charged_alike_are_flat_for_the_alarm_and_the_update(name: str) -> None:
    """All steps refused in one group, none in another, one step in the third: that one alone is mixed."""
    shaping = run_config(rollout={"invalid_penalty": 0.1, "invalid_penalty_on": "step"}).rollout
    records = [*lost(0, (1, 2), (1, 2)), *lost(1, (), ()), *lost(2, (1,), ())]
    assert {record.group for record in mixed_groups(records, shaping)} == {2}
    turns = (turn(2, action=(0, 1)), turn(3, action=(0, 1)))
    penalty = torch.tensor([0.1] * 4 + [0.0] * 4 + [0.1, 0.0, 0.0, 0.0])
    batch = build([Attempt(group, 0.0, turns) for group in (0, 0, 1, 1, 2, 2)])
    batch = batch.with_columns(penalty=penalty, reward=-penalty)
    given = credit.make(name)(batch)
    mine = sorted({*batch.group_of_step[batch.tokens.step_of_token[given.advantages != 0]].tolist()})
    assert mine == [2] or name == "reinforce_pp"  # which shifts all by the mean of the batch
    assert audit_credit(batch, given).groups_learned == len(mine) / 3
    metrics = episode_metrics(records, (), shaping)
    assert metrics["train/mixed_groups"] == pytest.approx(1 / 3)


def test_groups_with_a_failed_member_are_neither_flat_nor_mixed() -> None:
    """The update leaves them out, so what the others got says nothing about what can be learned."""
    won = [refused(episode(group, 0, True)) for group in (0, 1)]
    broken, other, flat = failed(lost(0, ())[0]), lost(1, (), ())[1], lost(2, (), ())
    mixed = [won[1], other]
    records = [won[0], replace(broken, member=1), replace(other, group=0, member=2), *mixed, *flat]
    assert mixed_groups(records) == mixed
    assert episode_metrics(records)["train/mixed_groups"] == 0.5
    alone = episode_metrics([failed(record) for record in mixed])
    assert "train/mixed_groups" not in alone and "flat" not in measured(alone, ())


def test_returns_apart_by_rounding_are_no_mixed_group() -> None:
    """With the penalty on the episode, too: 0.7 less a step of 0.1, and 0.6 less none."""
    pair = [paid(record, value) for record, value in zip(lost(0, (1,), ()), (0.7, 0.6), strict=True)]
    sums = [paid(pair[0], 1 - 0.1 - 0.1 - 0.1 - 0.1), pair[1]]
    assert sums[0].episode_return != sums[1].episode_return and mixed_groups(sums) == []
    shaping = run_config(rollout={"invalid_penalty": 0.1, "invalid_penalty_on": "episode"}).rollout
    assert mixed_groups(pair, shaping) == [] and mixed_groups(pair) == pair


@pytest.mark.samples
@pytest.mark.parametrize("name", ["rloo", "path_gain", "sdar"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_the_alarm_counts_the_groups_without_credit(name: str, rounds: int) -> None:
    """Among all that were played whole: those left out, and those whose tokens all have none.

    A method that gives credit in lost groups learns from them, and so does a teacher that pulls everywhere.
    """
    rollout = {"tasks": 4, "group_size": 3, "max_rounds": rounds, "invalid_penalty": 0.1}
    one = Trainer(run_config(rollout=rollout), credit.make(name), taught())
    episodes, metrics, _ = one.step()
    chosen = one.chosen(episodes)
    groups = len({record.group for record in whole_groups(episodes)})
    learned = 0
    if chosen:
        batch = one.score(chosen)
        given = one.assign(batch)
        pulled = given.advantages != 0
        for term in given.terms:
            pulled |= term.weights != 0
        learned = len({*batch.group_of_step[batch.tokens.step_of_token[pulled]].tolist()})
    assert measured(metrics, ())["flat"] == pytest.approx(1 - learned / groups)
    one.close()
