"""Success tables, agents that play, and evaluations that can be compared."""

from dataclasses import replace
from typing import Any

import pytest

from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout.play import (
    EVAL_SEED,
    evaluate_policy,
    evaluation_env,
    first_games,
    play_agent,
    play_policy,
    success_table,
    table_text,
)
from stepopsd_agent.run.files.metrics_log import wilson
from stepopsd_agent.tasks.agents import RandomAgent
from stepopsd_agent.tasks.make import make_plain_env, make_stack, task_ids
from stepopsd_wrappers import Episode, replay
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught
from tests.helpers.text_env import make_episode


def outcome(task_type: str, won: bool, error: str | None = None) -> Episode:
    """A record of two steps."""
    episode = make_episode(num_steps=2)
    info: dict[str, Any] = {**episode.steps[0].info, "task_type": task_type}
    first, middle, last = episode.steps
    last = replace(last, error=error, info={} if error else {**info, "won": won})
    return replace(episode, steps=(replace(first, info=info), middle, last))


def test_success_table_counts_by_type_and_leaves_errors_out() -> None:
    """3 of 4, 2 of 2 and 1 of 2 by type; an episode that met an error is no failure."""
    episodes = [outcome("pick", True), outcome("pick", True), outcome("heat", True), outcome("heat", False)]
    table = success_table([*episodes, outcome("heat", False, error="RuntimeError: broke")])
    assert (table["success"], table["n"], table["errors"]) == (0.75, 4, 1)
    assert tuple(table["ci95"]) == wilson(3, 4)
    assert table["mean_steps"] == 2
    assert list(table["by_task_type"]) == ["heat", "pick"]
    assert {k: (v["success"], v["n"]) for k, v in table["by_task_type"].items()} == {
        "heat": (0.5, 2),
        "pick": (1.0, 2),
    }


def test_success_table_of_nothing_knows_nothing() -> None:
    """No division by zero."""
    table = success_table([])
    assert (table["success"], table["n"], table["ci95"]) == (0.0, 0, [0.0, 1.0])


def test_table_text_is_aligned() -> None:
    """One heading, one line each, all columns below each other."""
    rows = {"short": {"success": 0.5, "n": 4, "ci95": [0.15, 0.85]}}
    rows["a much longer name"] = {"success": 1.0, "n": 1000, "ci95": [0.996, 1.0]}
    lines = table_text("agent", rows).splitlines()
    assert lines == [
        "agent               success    95 % interval  games",
        "short                 50.0%   15.0% to 85.0%      4",
        "a much longer name   100.0%  99.6% to 100.0%   1000",
    ]


def test_play_agent_records_every_game_under_its_own_seed() -> None:
    """In order, told of one by one, and replayable."""
    env = make_plain_env(run_config(env={"num_games": 3}).env)
    told: list[Episode] = []
    episodes = play_agent(RandomAgent(), env, task_ids(env), seed=5, on_episode=told.append)
    assert episodes == told
    assert [(e.task_id, e.seed, e.group) for e in episodes] == [
        (name, 5 + k, k) for k, name in enumerate(task_ids(env))
    ]
    assert all(replay(episode).equal for episode in episodes)


def test_play_agent_plays_the_same_every_time() -> None:
    """Equal seeds, equal records; another seed, other commands."""
    env = make_plain_env(run_config(env={"num_games": 2}).env)
    ids = task_ids(env)
    first = play_agent(RandomAgent(), env, ids, seed=0)
    assert play_agent(RandomAgent(), env, ids, seed=0) == first
    other = play_agent(RandomAgent(), env, ids, seed=1)
    assert [s.action for s in other[0].steps] != [s.action for s in first[0].steps]


def test_evaluate_policy_is_repeatable_and_the_same_for_every_model() -> None:
    """The first test games, in order, under seeds that depend on nothing."""
    config = run_config(eval={"num_games": 3})
    policy = taught()
    form = make_format(policy, "off", "", False)
    episodes = evaluate_policy(policy, form, config)
    assert evaluate_policy(policy, form, replace(config, seed=9)) == episodes
    assert [e.task_id for e in episodes] == [f"generated/tiny/test/{k}" for k in range(3)]
    assert [e.seed for e in episodes] == [EVAL_SEED + k for k in range(3)]
    other = tiny()
    games = evaluate_policy(other, make_format(other, "off", "", False), config)
    assert [(e.task_id, e.seed) for e in games] == [(e.task_id, e.seed) for e in episodes]


def test_evaluation_never_plays_training_houses() -> None:
    """Whatever the split of the training environment; official splits are named as they are."""
    config = run_config()
    assert not set(task_ids(make_stack(evaluation_env(config)))) & set(task_ids(make_stack(config.env)))
    official = replace(config, eval=replace(config.eval, games="valid_unseen"))
    assert evaluation_env(official).games == "valid_unseen"
    assert evaluation_env(official).num_games == official.eval.num_games


def test_play_policy_begins_the_games_again_with_other_noise() -> None:
    """Five episodes of two games."""
    config = run_config(env={"num_games": 2}, eval={"temperature": 1.0})
    policy = taught()
    episodes = play_policy(policy, make_format(policy, "off", "", False), config, config.env, 5, seed=3)
    assert [(e.task_id[-1], e.seed, e.member) for e in episodes] == [
        ("0", 3, 0),
        ("1", 4, 0),
        ("0", 5, 1),
        ("1", 6, 1),
        ("0", 7, 2),
    ]
    assert len({tuple(s.response for s in e.steps) for e in episodes[::2]}) > 1


@pytest.mark.parametrize(("count", "expected"), [(2, "ab"), (3, "abc"), (7, "abcabca"), (0, "")])
def test_first_games_begin_again_when_the_list_is_short(count: int, expected: str) -> None:
    """As many as asked for."""
    assert "".join(first_games("abc", count)) == expected
