"""Evaluations that can be compared: the same held-out tasks, seeds and noise for every policy."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stepopsd_agent.rollout import EVAL_SEED, chosen_tasks, evaluate_policy, play_set
from stepopsd_agent.rollout.task_sets import first_tasks
from stepopsd_agent.run.display import pace
from stepopsd_agent.tasks import (
    EvalSet,
    evaluation_sets,
    evaluation_total,
    make_stack,
    side_by_side,
    task_ids,
)
from stepopsd_agent.tasks.alfworld import task_type_in
from stepopsd_envs.alfworld.generator import task_type_at
from stepopsd_wrappers import Episode
from tests.helpers.models import tiny
from tests.helpers.runs import draw_until, run_config, taught


@pytest.mark.samples
def test_evaluate_policy_is_repeatable_and_the_same_for_every_model() -> None:
    """The first test games, in order, under seeds that depend on nothing."""
    config = run_config(eval={"num_games": 3})
    policy = taught()
    episodes = evaluate_policy(policy, config)
    assert evaluate_policy(policy, replace(config, seed=9)) == episodes
    assert [e.task_id for e in episodes] == [f"generated/tiny/test/{k}" for k in range(3)]
    assert [e.seed for e in episodes] == [EVAL_SEED + k for k in range(3)]
    games = evaluate_policy(tiny(), config)
    assert [(e.task_id, e.seed) for e in games] == [(e.task_id, e.seed) for e in episodes]


def test_evaluation_never_plays_training_houses() -> None:
    """Whatever the split of the training environment; official splits are named as they are."""
    config = run_config()
    (held_out,) = evaluation_sets(config)
    assert not set(task_ids(make_stack(held_out.env))) & set(task_ids(make_stack(config.env)))
    (official,) = evaluation_sets(run_config(eval={"games": "valid_unseen"}))
    assert official.env.arguments["games"] == official.name == "valid_unseen"
    assert official.count == config.eval.arguments["num_games"]


def test_evaluation_plays_whole_splits_unless_told_otherwise(official_games: Path) -> None:
    """Neither the number of training games nor another split's cuts one; a sample is even, and nested."""
    data = {"games": "train", "data_root": str(official_games), "num_games": 1}
    config = run_config(env=data, eval={"games": ["valid_seen", "valid_unseen"], "num_games": None})
    sets = evaluation_sets(config)
    ids = [task_ids(make_stack(one.env)) for one in sets]
    assert [one.name for one in sets] == ["valid_seen", "valid_unseen"] and [*map(len, ids)] == [140, 134]
    assert [chosen_tasks(*pair) for pair in zip(sets, ids, strict=True)] == [list(one) for one in ids]
    assert evaluation_total(config) == 274
    few, more = (chosen_tasks(replace(sets[0], count=count), ids[0]) for count in (12, 100))
    assert set(Counter(map(task_type_in, few)).values()) == {2} and more[:12] == few
    assert len(set(more)) == 100 and set(more) < set(ids[0])
    with pytest.raises(ValueError, match="141 of 140 tasks are asked for"):
        chosen_tasks(replace(sets[0], count=141), ids[0])


def test_evaluation_on_generated_games_is_of_the_first() -> None:
    """A hundred, or as many as are asked for; their types take turns already."""
    (default,) = evaluation_sets(run_config(eval={"num_games": None}))
    assert default.count == default.env.arguments["num_games"] == 100
    (some,) = evaluation_sets(run_config(eval={"num_games": 12}))
    ids = task_ids(make_stack(some.env))
    assert chosen_tasks(some, ids) == list(ids) == [f"generated/tiny/test/{k}" for k in range(12)]
    assert set(Counter(task_type_at("tiny", k) for k in range(12)).values()) == {2}
    for names in ([], ["valid_seen", "valid_seen"]):
        with pytest.raises(ValueError, match="give different splits or folders, one at least"):
            evaluation_sets(run_config(eval={"games": names}))


@pytest.mark.samples
def test_play_set_begins_the_games_again_with_other_noise() -> None:
    """Five episodes of two games."""
    config = run_config(env={"num_games": 2}, eval={"temperature": 1.0})
    policy = taught()

    def five(seed: int) -> list[Episode]:
        episodes = play_set(policy, config, EvalSet("games", config.env, 5), seed=seed)
        assert [(e.task_id[-1], e.seed - seed, e.member) for e in episodes] == [
            ("0", 0, 0),
            ("1", 1, 0),
            ("0", 2, 1),
            ("1", 3, 1),
            ("0", 4, 2),
        ]
        return episodes

    draw_until(five, lambda episodes: len({tuple(s.response for s in e.steps) for e in episodes[::2]}) == 3)


@pytest.mark.samples
def test_play_set_gives_every_seed_other_noise() -> None:
    """Three attempts at a game by a model; each is a member of its own, as the noise depends on it."""
    config = run_config(env={"num_games": 1}, eval={"temperature": 1.0})
    policy = taught()

    def three(seed: int) -> list[Episode]:
        episodes = play_set(policy, config, EvalSet("games", config.env, 1, seeds=3), seed=seed)
        assert [(e.seed - seed, e.member) for e in episodes] == [(0, 0), (1, 1), (2, 2)]
        return episodes

    draw_until(three, lambda episodes: len({tuple(s.response for s in e.steps) for e in episodes}) == 3)


@pytest.mark.parametrize(("count", "expected"), [(2, "ab"), (3, "abc"), (7, "abcabca"), (0, "")])
def test_first_tasks_begin_again_when_the_list_is_short(count: int, expected: str) -> None:
    """As many as asked for."""
    assert "".join(first_tasks("abc", count)) == expected


def test_time_left_is_told_once_as_many_have_finished_as_the_largest_set_has() -> None:
    """Sets are played one after the other: two of 30 tasks never fill 64 slots, and no time was told."""
    sets = evaluation_sets(run_config(eval={"num_games": 30}))
    at_once = side_by_side([*sets, *sets], 64)
    assert pace(30, 30, 60.0, "game", at_once=at_once) == "2.0 s/game, 1 min 00 s left"
    assert side_by_side(sets, 8) == 8
