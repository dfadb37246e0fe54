"""The end of the demonstration: which episode is shown, which houses are played, and how it is told."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.report.demo import FIGURES
from benchmarks.runs import demo_credit
from benchmarks.runs.demo_credit import disagreement, most_disputed, other_attempts
from stepopsd_agent.accuracy import Judged, figures
from stepopsd_agent.tasks import make_stack, task_ids
from tests.helpers.runs import run_config
from tests.helpers.text_env import make_episode

NEARER = np.array([1.0, 0.0, -1.0])


def truth(won: list[bool], mixed: list[bool], steps: list[np.ndarray] | None = None) -> Judged:
    """Episodes of three steps, one of each kind unless others are given."""
    return Judged([0] * len(won), steps or [NEARER] * len(won), won, mixed, [None] * len(won))


def test_disagreement_is_the_distance_of_the_outermost_credits() -> None:
    """Less the means they are (2, -1, -1), (0, 0, 0), (-1, 0, 1): 3, 1 and 2 apart."""
    credits = [np.array([4.0, 1.0, 1.0]), np.array([-0.9, -0.9, -0.9]), np.array([0.0, 1.0, 2.0])]
    assert disagreement(credits) == pytest.approx(2.0)


def test_disagreement_leaves_out_what_all_steps_share() -> None:
    """That is the outcome's part, which the episode as a whole gets."""
    spread = np.array([1.0, 0.0, -1.0])
    assert disagreement([spread, spread + 7.0]) == pytest.approx(0.0)


def test_the_episode_that_is_shown_is_the_most_disputed_lost_one() -> None:
    """Won ones, those of groups with one outcome and those without a forward step are passed over."""
    flat, wide, wider = np.zeros(3), np.array([1.0, 0.0, -1.0]), np.array([9.0, 0.0, -9.0])
    credits = {"a": [wider, wider, wider, wide, wide, flat], "b": [flat] * 6}
    steps = [NEARER, NEARER, np.array([0.0, 0.0, -1.0]), NEARER, NEARER, NEARER]
    won, mixed = [True, False, False, False, False, False], [True, False, True, True, True, True]
    assert most_disputed(credits, truth(won, mixed, steps)) == 3  # the first of equals


def test_the_choice_does_not_ask_who_is_right() -> None:
    """Credit with all signs turned chooses the same episode."""
    rng = np.random.default_rng(0)
    credits = {name: [rng.normal(size=3) for _ in range(9)] for name in ("a", "b", "c")}
    turned = {name: [-steps for steps in found] for name, found in credits.items()}
    known = truth([False] * 9, [True] * 9)
    assert most_disputed(credits, known) == most_disputed(turned, known)


def test_there_may_be_no_episode_to_show() -> None:
    """And the text says so."""
    assert most_disputed({"a": [NEARER]}, truth([True], [True])) is None
    (line,) = demo_credit.episode_lines(None, ["a"])
    assert line.startswith("no episode to show")


def test_the_houses_are_none_that_training_has() -> None:
    """They come after those of the split, and are the same for every seed."""
    config = run_config(env={"num_games": 3})
    attempts = other_attempts(config)
    assert len(attempts) == 2 * config.rollout.tasks * config.rollout.group_size
    houses = [attempt.task_id for attempt in attempts]
    assert len(set(houses)) == 2 * config.rollout.tasks
    assert not set(houses).intersection(task_ids(make_stack(config.env)))
    assert houses == [attempt.task_id for attempt in other_attempts(replace(config, seed=5))]


def test_figures_and_episode_are_told_step_by_step() -> None:
    """A line for each method in the order asked for, and one for each step."""
    credits = {"b": [np.array([0.5, -0.25, 0.0])], "a": [np.zeros(3)]}
    found = {
        name: {key: vars(figures(one, truth([False], [True]))[key]) for key in FIGURES}
        for name, one in credits.items()
    }
    steps = [
        {"command": "go to bed 1", "nearer": 1.0, "credit": {"b": 0.5, "a": 0.0}},
        {"command": "look", "nearer": 0.0, "credit": {"b": -0.25, "a": 0.0}},
        {"command": "go to desk 1", "nearer": -1.0, "credit": {"b": 0.0, "a": 0.0}},
    ]
    about = {"episodes": 1, "groups": 1, "mixed": 1, "methods": found}
    episode = {"task_id": "generated/tiny/train/7", "task": "find it.", "steps": steps}
    lines = demo_credit.credit_text({**about, "episode": episode}, ["a", "b"]).splitlines()
    # Forward against the two others: 0.5 beats both, 0 ties with both.
    assert lines[2].split()[:2] == ["a", "0.50"] and lines[3].split()[:2] == ["b", "1.00"]
    assert lines[5].endswith("generated/tiny/train/7: find it.") and lines[6].split()[-2:] == ["a", "b"]
    assert [line.split() for line in lines[7:]] == [
        ["1", "go", "to", "bed", "1", "nearer", "+0.00", "+0.50"],
        ["2", "look", "+0.00", "-0.25"],
        ["3", "go", "to", "desk", "1", "away", "+0.00", "+0.00"],
    ]


def test_a_command_of_several_lines_is_told_in_one() -> None:
    """A small model goes on writing after its command; the table has one line for each step."""
    episode = make_episode(num_steps=1)
    step = replace(episode.steps[1], action="go to bed 1\n> look")
    told = demo_credit.shown(
        replace(episode, steps=(episode.steps[0], step)), np.zeros(1), {"step_opsd": np.zeros(1)}
    )
    assert [one["command"] for one in told["steps"]] == ["go to bed 1 > look"]
    assert demo_credit.episode_lines(told, ["step_opsd"])[-1].startswith("step_opsd moves credit between")
