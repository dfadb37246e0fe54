"""Evaluations that can be compared: the same held-out tasks, seeds and noise for every policy."""

from dataclasses import replace

import pytest

from stepopsd_agent.rollout import EVAL_SEED, evaluate_policy, play_set
from stepopsd_agent.rollout.evaluation import first_tasks
from stepopsd_agent.tasks import EvalSet, evaluation_sets, make_stack, task_ids
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
    assert official.env.arguments["num_games"] == official.count == config.eval.arguments["num_games"]


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


@pytest.mark.parametrize(("count", "expected"), [(2, "ab"), (3, "abc"), (7, "abcabca"), (0, "")])
def test_first_tasks_begin_again_when_the_list_is_short(count: int, expected: str) -> None:
    """As many as asked for."""
    assert "".join(first_tasks("abc", count)) == expected
