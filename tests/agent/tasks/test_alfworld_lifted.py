"""Household games in the terms of their task."""

import re
from dataclasses import replace

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks import Lifted, lifted_of
from stepopsd_agent.tasks.agents import ExpertAgent
from stepopsd_envs.alfworld.game import TASK_TYPES
from stepopsd_wrappers import Episode, RecordEpisode


def solved(task_type: str, number: int) -> Episode:
    """The expert's attempt at a generated game of a type."""
    game = gym.make("stepopsd/ALFWorld-v0", tier="full", task_types=[task_type])
    env = RecordEpisode(game)
    ids = [game.unwrapped.task_ids[number]]  # type: ignore[attr-defined]
    return play_agent(ExpertAgent(), env, ids, seed=0)[0]


def terms(episode: Episode) -> Lifted:
    """The episode in the terms of its task, which there are."""
    told = lifted_of(episode)
    assert told is not None
    return told


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_all_houses_end_in_the_same_world(task_type: str) -> None:
    """Up to what is in sight beside it, and to objects that were back where they lay at first."""
    ends, won = set(), [episode for number in range(10) if (episode := solved(task_type, number)).success]
    assert len(won) > 5
    for episode in won:
        told = terms(episode)
        assert told.form == task_type
        assert len(told.worlds) == len(episode.steps)
        ends.add(frozenset(fact for fact in told.worlds[-1] if "in sight" not in fact and "door" not in fact))
    assert len({end - {"object 1: in target", "object 2: in target"} for end in ends}) == 1


def test_names_of_things_do_not_matter() -> None:
    """With other kinds and other numbers, the same episode has the same terms."""
    episode = solved("pick_heat_then_place_in_recep", 0)
    goal = re.fullmatch(
        r"heat some (\w+) and put it in (\w+)\.|put a hot (\w+) in (\w+)\.", episode.steps[0].info["goal"]
    )
    assert goal is not None
    thing, place = filter(None, goal.groups())
    kinds = {thing: "gadget", place: "podium"}

    def renamed(text: str) -> str:
        text = re.sub(
            r"\b(\w+) (\d+)\b", lambda name: f"{kinds.get(name[1], name[1])} {int(name[2]) + 7}", text
        )
        return " ".join(kinds.get(word, word) for word in re.split(" ", text))

    steps = tuple(
        replace(step, action=renamed(step.action), observation=renamed(step.observation))
        for step in episode.steps
    )
    info = {**steps[0].info, "goal": "heat some gadget and put it in podium."}
    other = replace(episode, steps=(replace(steps[0], info=info), *steps[1:]))
    assert terms(other) == terms(episode)


def test_another_wording_is_not_guessed() -> None:
    """An environment of somebody's own may have goals that are no goals of ALFWorld."""
    episode = solved("pick_and_place_simple", 0)
    info = {**episode.steps[0].info, "goal": "make the kitchen shine."}
    first = replace(episode.steps[0], info=info)
    assert lifted_of(replace(episode, steps=(first, *episode.steps[1:]))) is None
