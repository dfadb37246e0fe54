"""Reading official game files: what they mean."""

import pickle
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import TASK_TYPES, GameFileError, Goal, Item, Receptacle, load_game
from stepopsd_envs.alfworld.household import demangled_names
from tests.helpers.alfworld_games import DOMAIN, goal_problem, kitchen, small_game, write_game


def test_load_game_reads_the_household(tmp_path: Path) -> None:
    """Numbers fall in the order of the ids, basins are named so, types keep their spelling."""
    game = load_game(write_game(tmp_path))
    assert game.receptacles == (
        Receptacle("shelf 1", "Shelf", 0, openable=True, opened=True),
        Receptacle("sinkbasin 1", "SinkBasin", 1),
    )
    assert game.items == (
        Item("knife 1", "Knife", (0, 1), (1,), pickupable=True),
        Item("mug 2", "Mug", (0,), (0,), pickupable=True, cleanable=True, vessel=True, contents=(0,)),
        Item("mug 1", "Mug", (1,), (1,), pickupable=True, cool=True),
    )
    assert game.can_contain == {("Shelf", "Mug"), ("SinkBasin", "Knife")}
    assert (game.location_names, game.start_location) == (("loc 3", "loc 2", "loc 1"), 2)


def test_load_game_reads_the_task(tmp_path: Path) -> None:
    """The id from the path, the type from the goal, the instruction from the grammar."""
    path = write_game(tmp_path)
    game = load_game(str(path))
    assert game.task_id == "valid_seen/pick_clean_then_place_in_recep-Mug-None-Shelf-1/trial_1"
    assert load_game(path, "mine").task_id == "mine"
    assert game.task_type == "pick_clean_then_place_in_recep"
    assert game.goal == "put a clean mug in shelf."
    assert game.win == Goal("Mug", "Shelf", states=("clean",))
    assert game.walkthrough == tuple(small_game()["walkthrough"])


def test_load_game_reads_the_rules_of_the_domain(tmp_path: Path) -> None:
    """The types that the domain names, whether there is help, and the variants of old releases."""
    rules = load_game(write_game(tmp_path)).rules
    assert rules.clean_in == {"SinkBasin"}
    assert rules.heat_in == {"Microwave", "stove"}
    assert rules.cool_in == {"Fridge"}
    assert rules.slice_with == {"Knife", "ButterKnife"}
    assert (rules.help, rules.one_open, rules.toggle_by_location) == (True, False, False)


def test_load_game_reads_the_rules_of_old_releases(tmp_path: Path) -> None:
    """Another condition for opening, another way to use lamps, and no help."""
    opening = "\n  :effect (and (opened"
    is_closed, all_closed = "(not (opened ?r)))", "(forall (?re - receptacle) (not (opened ?re))))"
    held_in = " ?r - receptacle)\n  :precondition (and (toggleable ?o) (atLocation ?a ?l)"
    held_in += " (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r))"
    is_at = ")\n  :precondition (and (toggleable ?o) (atLocation ?a ?l) (objectAtLocation ?o ?l))"
    old = re.sub(r"\(:action help.*", "", DOMAIN)
    for new, other in ((is_closed + opening, all_closed + opening), (held_in, is_at)):
        assert new in old
        old = old.replace(new, other)
    rules = load_game(write_game(tmp_path, small_game() | {"pddl_domain": old})).rules
    assert (rules.help, rules.one_open, rules.toggle_by_location) == (False, True, True)


def test_load_game_reads_the_wording(tmp_path: Path) -> None:
    """Texts come from the file, with TextWorld's treatment of blanks."""
    engine = Engine(load_game(write_game(tmp_path)))
    opening = "Hello.\n\nThere is a shelf 1, and a sinkbasin 1.\n\nYour task is to: put a clean mug in shelf."
    assert engine.reset() == opening
    assert engine.step("help") == "Help (yourself):\n  look\n"
    assert engine.step("inventory") == ""
    assert engine.step("go to shelf 1") == "From loc 1 to loc 3. It holds the knife 1, and the mug 2."
    assert engine.step("take mug 2 from shelf 1") == "Taken mug 2."
    assert engine.step("examine mug 2") == "mug 2: knife 1"
    assert engine.step("inventory") == "mug 2"


def test_load_game_walkthrough_wins(tmp_path: Path) -> None:
    """The whole path from a file to a win."""
    game = load_game(write_game(tmp_path))
    engine = Engine(game)
    engine.reset()
    won = []
    for command in game.walkthrough:
        assert command in engine.admissible_commands()
        engine.step(command)
        won.append(engine.won)
    assert won == [False] * 5 + [True]


def test_load_game_plays_without_walkthrough(tmp_path: Path) -> None:
    """Old files have none."""
    contents = small_game()
    del contents["walkthrough"], contents["solvable"]
    assert load_game(write_game(tmp_path, contents)).walkthrough == ()


TWO = """(exists (?r - receptacle) (exists (?o1 - object) (and
 (objectType ?o1 MugType) (receptacleType ?r ShelfType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and
 (not (= ?o1 ?o2)) (objectType ?o2 MugType) (receptacleType ?r ShelfType) (inReceptacle ?o2 ?r))))))"""
LIGHT = """(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and
 (objectType ?ot AppleType)
 (toggleable ?ot) (isToggled ?ot)
 (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
 (exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o))))"""
HOT = """(and (exists (?r - receptacle) (exists (?o - object) (and (heatable ?o) (isHot ?o)
 (objectType ?o MugType) (receptacleType ?r ShelfType) (inReceptacle ?o ?r))))
 (forall (?re - receptacle) (not (opened ?re))))"""


@pytest.mark.parametrize(
    ("goal", "win", "task_type"),
    [
        (TWO, Goal("Mug", "Shelf", count=2), "pick_two_obj_and_place"),
        (LIGHT, Goal("Mug", lamp_type="Apple"), "look_at_obj_in_light"),
        (HOT, Goal("Mug", "Shelf", states=("hot",), all_closed=True), "pick_heat_then_place_in_recep"),
    ],
)
def test_load_game_reads_every_form_of_goal(tmp_path: Path, goal: str, win: Goal, task_type: str) -> None:
    """Two of a kind, in light, and with everything closed again."""
    game = load_game(write_game(tmp_path, small_game() | {"pddl_problem": goal_problem(goal)}))
    assert (game.win, game.task_type) == (win, task_type)


def test_demangled_names_count_down_by_kind() -> None:
    """The original's rule, word by word; what has no place gets no number."""
    things = [
        "desk_bar_1",
        "sink_bar_1",
        "sink_bar_1_bar_sinkbasin",
        "sink_bar_2",
        "mug_type",
        "cd_bar__minus_01",
    ]
    assert demangled_names(things) == {
        "desk_bar_1": "desk 1",
        "sink_bar_1": "sink 2",
        "sink_bar_2": "sink 1",
        "sink_bar_1_bar_sinkbasin": "sinkbasin 1",
        "mug_type": "mug_type ",
        "cd_bar__minus_01": "cd 1",
    }


def test_content_hash_is_of_the_content() -> None:
    """Not of the id or the walkthrough, but of everything else."""
    game = kitchen()
    assert game.content_hash == kitchen(task_id="other", walkthrough=("look",)).content_hash
    assert re.fullmatch("[0-9a-f]{32}", game.content_hash)
    others = [
        kitchen(goal="put a mug on shelf."),
        kitchen(win=Goal("Mug", "Cabinet")),
        kitchen(start_location=0),
        kitchen(items=game.items[:-1]),
        kitchen(rules=replace(game.rules, help=False)),
        kitchen(can_contain=frozenset(list(sorted(game.can_contain))[1:])),
    ]
    assert len({other.content_hash for other in [game, *others]}) == 7


def test_game_survives_pickling(tmp_path: Path) -> None:
    """Games travel to worker processes."""
    game = load_game(write_game(tmp_path))
    copy = pickle.loads(pickle.dumps(game))
    assert copy == game
    assert copy.content_hash == game.content_hash


def test_official_walkthroughs_win(official_games: Path) -> None:
    """Every game of the validation splits is of its folder's type, and its own solution wins at its end."""
    folders = (official_games / split for split in ("valid_seen", "valid_unseen"))
    files = sorted(path for folder in folders for path in folder.rglob("*.tw-pddl"))
    seen = set()
    for path in files:
        game = load_game(path)
        seen.add(game.task_type)
        assert game.task_id.split("/")[1].startswith(game.task_type + "-")
        engine = Engine(game)
        engine.reset()
        won = []
        for command in game.walkthrough:
            engine.step(command)
            won.append(engine.won)
        assert won[-1:] == [True], path
    assert len(files) == 274
    assert seen == set(TASK_TYPES)


def test_official_games_load_fast(official_games: Path) -> None:
    """Well under the 25 ms that a reset may take for it; the original takes a second."""
    files = sorted((official_games / "valid_seen").rglob("*.tw-pddl"))[:40]
    seconds = []
    for path in files:
        started = time.perf_counter()
        load_game(path)
        seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[len(seconds) // 2] < 0.025


def test_old_games_are_read_or_refused(old_official_games: Path) -> None:
    """All but the one with a movable receptacle, also the one on which the original fails."""
    refused: list[GameFileError] = []
    for path in sorted(old_official_games.rglob("*.tw-pddl")):
        try:
            engine = Engine(load_game(path))
        except GameFileError as error:
            refused.append(error)
        else:
            assert "You are in the middle of a room." in engine.reset()
            assert len(engine.admissible_commands()) > 5
    assert [("movable" in error.path, error.field) for error in refused] == [(True, "pddl_problem: :objects")]
