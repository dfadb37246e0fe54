"""Transitions that no attempt took, inferred from the effects of commands elsewhere."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.learner import inferred_transitions as module
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks import World, worlds_of
from stepopsd_agent.tasks.agents import RandomAgent
from stepopsd_wrappers import make_text_env


def attempts(monkeypatch: pytest.MonkeyPatch, *paths: list[tuple[str, set[str]]]) -> list[Any]:
    """Episodes of (command, world after it) that begin in the empty world."""
    worlds: dict[int, list[World]] = {}

    def episode(number: int, rows: list[tuple[str, set[str]]]) -> Any:
        worlds[number] = [frozenset(), *(frozenset(facts) for _, facts in rows)]
        steps = [SimpleNamespace(action=name) for name in ("", *(name for name, _ in rows))]
        return SimpleNamespace(number=number, steps=steps)

    monkeypatch.setattr(module, "worlds_of", lambda one: worlds[one.number])
    return [episode(number, rows) for number, rows in enumerate(paths)]


def transitions(episodes: list[Any]) -> set[tuple[World, World, int]]:
    """Those of one group."""
    return set(module.transitions_of_group(episodes))


def test_a_command_accepted_in_several_places_leads_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """To C from the start and from A; then from B as well, though nobody went from B to C."""
    episodes = attempts(
        monkeypatch,
        [("to c", {"at: c"})],
        [("to a", {"at: a"}), ("to c", {"at: c"})],
        [("to b", {"at: b"})],
    )
    assert (frozenset({"at: b"}), frozenset({"at: c"}), 1) in transitions(episodes)


def test_commands_come_with_the_worlds_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """They make the transitions of length 1."""
    episodes = attempts(monkeypatch, [("to c", {"at: c"})], [("to a", {"at: a"}), ("to c", {"at: c"})])
    start, a, c = frozenset[str](), frozenset({"at: a"}), frozenset({"at: c"})
    found = set(module.commands_of_group(episodes))
    assert found == {("to c", start, c), ("to c", a, c), ("to a", start, a), ("to a", c, a)}
    assert {(before, after, 1) for _, before, after in found} <= transitions(episodes)


def test_a_command_asks_for_what_held_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cup was taken at A, twice and in different worlds: it cannot be taken at B."""
    episodes = attempts(
        monkeypatch,
        [("to a", {"at: a"}), ("take", {"at: a", "holding: cup"}), ("to b", {"at: b", "holding: cup"})],
        [("open", {"door: open"}), ("to a", {"at: a", "door: open"})],
        [
            ("open", {"door: open"}),
            ("to a", {"at: a", "door: open"}),
            ("take", {"at: a", "holding: cup", "door: open"}),
        ],
        [("to b", {"at: b"})],
    )
    found = transitions(episodes)
    assert (frozenset({"at: b"}), frozenset({"at: b", "holding: cup"}), 1) not in found
    # With the cup in hand one can go to b; also from the start, where a world without it was visited.
    assert (frozenset({"at: b"}), frozenset({"at: a"}), 1) in found


def test_nothing_is_learned_from_a_command_whose_effect_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that leads here and there."""
    episodes = attempts(
        monkeypatch, [("go", {"at: a"}), ("go", {"at: b"})], [("to c", {"at: c"}), ("go", {"at: a"})]
    )
    assert not [edge for edge in transitions(episodes) if edge[2] == 1 and edge[1] == frozenset({"at: b"})]


def test_facts_that_begin_alike_are_different_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two queries "Star Wars: ..." are two facts: neither takes the other's place."""
    first, second = "search 'Star Wars: A New Hope': made", "search 'Star Wars: Rogue One': made"
    episodes = attempts(monkeypatch, [("1st", {first}), ("2nd", {first, second})], [("2nd", {second})])
    found = {edge for edge in transitions(episodes) if edge[2] == 1}
    one, two, both = frozenset({first}), frozenset({second}), frozenset({first, second})
    assert found == {(frozenset(), one, 1), (frozenset(), two, 1), (one, both, 1), (two, both, 1)}


def test_a_fact_without_a_value_is_a_fact_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bell rings wherever one stands, though it was rung at the start alone."""
    episodes = attempts(
        monkeypatch,
        [("ring", {"rung"}), ("to a", {"rung", "at: a"})],
        [("to a", {"at: a"})],
    )
    assert (frozenset({"at: a"}), frozenset({"rung", "at: a"}), 1) in transitions(episodes)


def test_a_world_with_more_done_is_at_least_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """In no steps, and not the other way round."""
    episodes = attempts(monkeypatch, [("a", {"x: 1"}), ("b", {"x: 1", "y: 2"})])
    more, less = frozenset({"x: 1", "y: 2"}), frozenset({"x: 1"})
    assert (more, less, 0) in transitions(episodes) and (less, more, 0) not in transitions(episodes)


def test_transitions_of_real_games_are_no_shorter_than_the_truth() -> None:
    """A step brings the goal nearer by one at most, and a world taken for as good is mostly near."""
    made = gym.make("stepopsd/ALFWorld-v0", tier="tiny", admissible=True, oracle=True, step_limit=40)
    env = make_text_env(made, format="plain")
    episodes = play_agent(RandomAgent(), env, ["generated/tiny/train/0"] * 8, 0)
    far = {
        world: step.info["optimal_distance"]
        for episode in episodes
        for world, step in zip(worlds_of(episode), episode.steps, strict=True)
    }
    taken = {pair for episode in episodes for pair in pairwise(worlds_of(episode))}
    found = list(module.transitions_of_group(episodes))
    of_one = [far[before] > far[after] + 1 for before, after, steps in found if steps == 1]
    as_good = [far[before] > far[after] + 1 for before, after, steps in found if steps == 0]
    assert len([edge for edge in found if edge[2] == 1 and edge[:2] not in taken]) > 20
    assert sum(of_one) < 0.03 * len(of_one)
    assert sum(as_good) < 0.2 * len(as_good)
