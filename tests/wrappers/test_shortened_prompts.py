"""Prompts without room: the oldest history goes first, the task never."""

from collections.abc import Callable
from typing import Any

import pytest

from stepopsd_wrappers import RecordEpisode, TextHistory
from stepopsd_wrappers.text_history import MARKER
from tests.helpers.text_env import make_env

GOAL = "open the red door at 5, s'il vous plaît"


def walked(layout: Any, steps: int = 4) -> TextHistory:
    """After some steps of a walk."""
    env = TextHistory(RecordEpisode(make_env()), layout, steps=9)
    env.reset(seed=0, options={"game": "corridor/5"})
    for number in range(steps):
        env.step("go left" if number % 2 else "go right")
    return env


def within(room: int) -> Callable[[str], bool]:
    """Whether a prompt has so many letters at most."""
    return lambda text: len(text) <= room


def prompt(env: TextHistory) -> str:
    """The latest prompt."""
    return env.shortened(lambda text: True)


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_shortened_keeps_a_prompt_that_fits(layout: Any) -> None:
    """It is the one that the environment gave."""
    env = TextHistory(RecordEpisode(make_env()), layout)
    first, _ = env.reset(seed=0)
    assert prompt(env) == first
    second, *_ = env.step("go left")
    assert prompt(env) == second


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_shortened_takes_the_least_from_the_oldest_history(layout: Any) -> None:
    """Room for one letter less costs the first step alone; then the next, down to the newest observation."""
    env = walked(layout)
    whole = prompt(env)
    newest = whole.rsplit("You stand at", 1)[1]
    room, shown = len(whole) - 1, []
    while True:
        text = env.shortened(within(room))
        if "..." in text:  # the history is used up
            break
        assert len(text) <= room and GOAL in text and text.endswith(MARKER)
        assert text.rsplit("You stand at", 1)[1] == newest
        shown.append(text.count("You stand at"))
        room = len(text) - 1
    assert shown == sorted(set(shown), reverse=True) and len(shown) >= 2


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_shortened_never_touches_the_task(layout: Any, steps: int) -> None:
    """Whatever the room; the last prompt on the way is given where none fits."""
    env = walked(layout, steps)
    whole = prompt(env)
    lengths = []
    for room in range(len(whole), -1, -7):
        text = env.shortened(within(room))
        assert GOAL in text and text.endswith(MARKER)
        lengths.append(len(text))
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] < len(whole) / 1.5


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_shortened_after_a_snapshot_is_that_before(layout: Any) -> None:
    """The history is known where an episode is continued."""
    env = walked(layout)
    other = TextHistory(RecordEpisode(make_env()), layout, steps=9)
    other.reset(seed=1)
    other.restore(env.snapshot())
    for room in range(0, 400, 25):
        assert other.shortened(within(room)) == env.shortened(within(room))
