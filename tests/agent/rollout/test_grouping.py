"""Groups of attempts: which are played, which can be learned from, and measures over their episodes."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import (
    episode_metrics,
    groups,
    mixed_groups,
    valid_episodes,
    whole_groups,
)
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_wrappers import Episode
from tests.agent.hindsight.test_prompt import episode
from tests.agent.rollout.test_language_model import play
from tests.helpers.runs import run_config, taught


def test_groups_play_every_task_once_per_pass() -> None:
    """Groups share task and seed, passes have orders of their own, and the run's seed decides all."""
    env = make_plain_env(run_config(env={"num_games": 6}).env)
    ids = task_ids(env)
    played = [groups(env, count=2, size=3, seed=5, update=update) for update in range(6)]
    assert all(len(one) == 6 for one in played)
    for one in played:
        for group in (0, 1):
            mine = [attempt for attempt in one if attempt.group == group]
            assert len({(attempt.task_id, attempt.seed) for attempt in mine}) == 1
            assert [attempt.member for attempt in mine] == [0, 1, 2]
    order = [attempt.task_id for one in played for attempt in one if attempt.member == 0]
    assert sorted(order[:6]) == sorted(order[6:]) == sorted(ids)
    assert order[:6] != order[6:]
    assert played[3] == groups(env, count=2, size=3, seed=5, update=3)
    assert played != [groups(env, count=2, size=3, seed=6, update=update) for update in range(6)]


def test_groups_of_other_runs_and_updates_are_others() -> None:
    """Numbers of groups begin anew in each: equal numbers make no group."""
    lost, won = episode(0, 0, False), episode(0, 1, True)
    for other in (replace(won, run="other"), replace(won, update=1)):
        assert mixed_groups([lost, other]) == [] and mixed_groups([lost, won, other]) == [lost, won]
        broken = replace(other, steps=(*other.steps[:-1], replace(other.steps[-1], error="down")))
        assert broken.failed and whole_groups([lost, broken]) == [lost]


def test_mixed_groups_are_those_whose_returns_differ() -> None:
    """Neither all won nor all lost."""
    records = [episode(0, 0, True), episode(0, 1, False), episode(1, 0, True), episode(1, 1, True)]
    assert mixed_groups(records) == records[:2]


def test_whole_groups_are_those_without_an_error() -> None:
    """One failed attempt takes its group along; the valid episodes are all others."""
    records = [episode(0, 0, True), episode(0, 1, False), episode(1, 0, True), episode(1, 1, True)]
    broken = replace(records[2].steps[-1], error="RuntimeError: broke")
    records[2] = replace(records[2], steps=(*records[2].steps[:-1], broken))
    assert whole_groups(records) == records[:2]
    assert valid_episodes(records) == [*records[:2], records[3]]


@pytest.mark.samples
def test_metrics_of_episodes_are_plain_means() -> None:
    """Over episodes, and over steps."""
    episodes = play(taught())
    metrics = episode_metrics(episodes)
    steps = [step for episode in episodes for step in episode.steps[1:]]
    assert metrics["train/success"] == sum(e.success for e in episodes) / len(episodes)
    assert metrics["train/steps"] == len(steps) / len(episodes)
    assert metrics["train/valid"] == sum(step.info["step"]["valid"] for step in steps) / len(steps)


def visits(count: int, updates: int, **revisits: Any) -> list[list[tuple[int, int]]]:
    """For every update and group the place of its task in the order of all tasks, and its seed."""
    names = tuple(f"task {number}" for number in range(40))
    env: Any = SimpleNamespace(get_wrapper_attr=lambda name: names)
    order = [groups(env, count=1, size=1, seed=3, update=k)[0].task_id for k in range(40)]
    played = [groups(env, count=count, size=1, seed=3, update=k, **revisits) for k in range(updates)]
    return [[(order.index(attempt.task_id), attempt.seed) for attempt in one] for one in played]


@pytest.mark.parametrize(
    ("count", "share", "after", "expected"),
    [
        (
            4,
            0.5,
            2,
            [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [10, 11, 4, 5], [12, 13, 8, 9], [14, 15, 10, 11]],
        ),
        (3, 2 / 3, 1, [[0, 1, 2], [3, 0, 1], [4, 3, 0], [5, 4, 3]]),
        (2, 1.0, 2, [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1]]),
        (2, 0.0, 1, [[0, 1], [2, 3], [4, 5]]),
    ],
)
def test_revisits_play_the_tasks_of_an_earlier_update(
    count: int, share: float, after: int, expected: list[list[int]]
) -> None:
    """Which tasks at which update: new ones first, none left out, then the first ones of then.

    A task that is played again has the seed that it had.
    """
    found = visits(count, len(expected), revisit_share=share, revisit_after=after)
    assert [[place for place, _ in one] for one in found] == expected
    seeds: dict[int, set[int]] = {}
    for place, seed in (visit for one in found for visit in one):
        seeds.setdefault(place, set()).add(seed)
    assert all(len(own) == 1 for own in seeds.values())
    assert len(set.union(*seeds.values())) == len(seeds)


def test_half_of_the_groups_revisit_those_of_ten_updates_before() -> None:
    """The published schedule, 8 groups: once it is under way, every task is played exactly twice."""
    found = [[place for place, _ in one] for one in visits(8, 14, revisit_share=0.5)]
    assert found[:10] == [list(range(8 * update, 8 * update + 8)) for update in range(5)] + found[5:10]
    assert found == [[place for place, _ in one] for one in visits(8, 14)][:10] + found[10:]
    for update in range(10, 14):
        assert found[update][4:] == found[update - 10][:4]


def test_revisits_out_of_range_are_refused() -> None:
    """More than all groups, and none at all between two visits."""
    for wrong in ({"revisit_share": 1.5}, {"revisit_share": 0.5, "revisit_after": 0}):
        with pytest.raises(ValueError, match="revisit_share"):
            visits(2, 1, **wrong)


def refused(record: Episode, *indices: int) -> Episode:
    """The record with these steps refused by the environment."""
    steps = list(record.steps)
    for index in range(1, len(steps)):
        info = steps[index].info
        step = {**info["step"], "valid": index not in indices}
        steps[index] = replace(steps[index], info={**info, "step": step})
    return replace(record, steps=tuple(steps))


def test_mixed_groups_of_the_metrics_are_those_with_something_to_learn() -> None:
    """Equal outcomes, one refused step: flat without the penalty, mixed with it, wherever it falls."""
    lost = [
        refused(episode(0, member, False, ("look", "go")), *steps) for member, steps in enumerate([(), (1,)])
    ]
    both = [refused(episode(1, member, False, ("look", "go")), 1) for member in (0, 1)]
    assert episode_metrics(lost)["train/mixed_groups"] == 0.0
    for on, of_equals in (("episode", 0.0), ("step", 1.0)):
        shaping = run_config(rollout={"invalid_penalty": 0.1, "invalid_penalty_on": on}).rollout
        assert episode_metrics(lost, (), shaping)["train/mixed_groups"] == 1.0
        assert episode_metrics(both, (), shaping)["train/mixed_groups"] == of_equals


@pytest.mark.parametrize(("count", "size"), [(0, 2), (-1, 2), (2, 0)])
def test_groups_without_attempts_are_refused(count: int, size: int) -> None:
    """Nothing would be played."""
    env = make_plain_env(run_config().env)
    with pytest.raises(ValueError, match=f"count {count}, size {size}: give 1 or more"):
        groups(env, count=count, size=size, seed=0)


@pytest.mark.parametrize("wrong", [{"seed": None}, {"count": 2.0}, {"size": "4"}])
def test_groups_takes_whole_numbers(wrong: dict[str, Any]) -> None:
    """The argument is named."""
    env, numbers = make_plain_env(run_config().env), {"count": 2, "size": 4, "seed": 0}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; give a whole number"):
        groups(env, **numbers | wrong)


def test_groups_names_what_is_no_environment_with_tasks() -> None:
    """An environment without names of tasks, or with none, a list of environments; and numbers below 0."""
    env = make_plain_env(run_config().env)
    without = gym.make("CartPole-v1")
    for wrong in (without, [env], object()):
        with pytest.raises(ValueError, match="has no task_ids; give one environment whose tasks have names"):
            groups(wrong, count=1, size=2, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no task_ids"):
        task_ids(without)
    for numbers in ({"seed": -1}, {"seed": 0, "update": -1}):
        with pytest.raises(ValueError, match="give 0 or more of both"):
            groups(env, count=1, size=2, **numbers)
