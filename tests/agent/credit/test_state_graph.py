"""The attempts of a group as one graph."""

import math
from dataclasses import replace

import pytest
import torch

from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.credit.state_graph import key_columns, merged_graph
from tests.helpers.builders import Attempt, build, turn


def attempt(places: str, won: bool, group: int = 0) -> Attempt:
    """An episode through places named by letters."""
    numbers = [ord(place) for place in places]
    turns = tuple(turn(1, anchor=number) for number in numbers[:-1])
    return Attempt(group, float(won), turns, last_anchor=numbers[-1])


def test_distance_is_that_of_the_shortest_way_any_attempt_walked() -> None:
    """A wins by A-B-C-D; another jumps from A to C and is lost; E leads nowhere."""
    graph = merged_graph(build([attempt("ABCD", True), attempt("ACE", False)]), "observation")
    far = graph.distance()
    # A -> C -> D takes 2, though the winner took 3.
    assert far[graph.before].tolist() == [2, 2, 1, 2, 1]
    assert far[graph.after].tolist() == [2, 1, 0, 1, math.inf]
    assert graph.num_nodes == 5


def test_groups_share_no_node() -> None:
    """The same place in a group without success is far from everything."""
    graph = merged_graph(build([attempt("AB", True), attempt("AB", False, group=1)]), "state")
    assert graph.distance()[graph.before].tolist() == [1, math.inf]
    assert graph.group[graph.before].tolist() == [0, 1]


def test_one_goal_is_apart_from_the_places_where_episodes_ended() -> None:
    """A failed attempt that passes the winner's last place has not won there."""
    batch = build([attempt("AB", True), attempt("ABC", False)])
    places, goal = (merged_graph(batch, "text", one_goal=one).distance() for one in (False, True))
    graph = merged_graph(batch, "text", one_goal=True)
    assert places[merged_graph(batch, "text").after].tolist() == [0, 0, math.inf]
    assert goal[graph.after].tolist() == [0, math.inf, math.inf]


def test_a_circle_does_not_hang_the_search() -> None:
    """A-B-A-B-C."""
    graph = merged_graph(build([attempt("ABABC", True)]), "text")
    assert graph.distance().isfinite().all()


def test_a_key_that_was_not_filled_is_named() -> None:
    """The error names the column."""
    batch = build([attempt("AB", True)])
    with pytest.raises(MissingColumnError, match="next_text_key"):
        merged_graph(replace(batch, steps=replace(batch.steps, next_text_key=None)), "text")
    assert key_columns("text") == {"text_key", "next_text_key"}


def test_a_way_with_a_hole_and_an_unknown_key_are_refused() -> None:
    """Steps that were not sampled, in the middle or behind the last: the goal would be put somewhere else."""
    batch = build([attempt("ABCD", True)])
    torn = replace(batch.steps, index_in_episode=torch.tensor([1, 2, 4]))
    with pytest.raises(ValueError, match="episode 0 of the batch has steps without sampled tokens"):
        merged_graph(replace(batch, steps=torn), "observation")
    short = replace(batch.episodes, num_steps=torch.tensor([4]))
    with pytest.raises(ValueError, match="its path to the end are unknown"):
        merged_graph(replace(batch, episodes=short), "observation")
    with pytest.raises(ValueError, match="must be one of observation, state, text"):
        merged_graph(batch, "obs")  # type: ignore[arg-type]
