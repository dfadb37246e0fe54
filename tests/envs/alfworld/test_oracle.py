"""The oracle: exact distances, shortest plans and all best commands, from any state."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld.breadth_first import distances, forgetful
from benchmarks.alfworld.oracle import difference, follow_plan, follow_plan_from
from benchmarks.alfworld.small_games import small_game, some_state
from stepopsd_envs.alfworld.game import Goal, Item, Rules, load_game
from stepopsd_envs.alfworld.generator import SPLITS, TIERS, generate_game
from stepopsd_envs.alfworld.official import find_files, load_file
from stepopsd_envs.alfworld.oracle import UNWINNABLE, Oracle
from tests.helpers.alfworld_games import CAN_CONTAIN, ITEMS, kitchen, started

TO_COUNTER, TAKE_MUG, TO_SHELF = "go to countertop 1", "take mug 1 from countertop 1", "move mug 1 to shelf 1"

CLEAN = "clean mug 1 with sinkbasin 1"
CLEANED = (TO_COUNTER, TAKE_MUG, "go to sinkbasin 1", CLEAN, TO_COUNTER, "move mug 1 to countertop 1")


def oracle(*commands: str, **changes: Any) -> Oracle:
    """That of the kitchen after some commands."""
    return Oracle(started(kitchen(**changes), *commands))


def test_plan_for_the_nearest_mug() -> None:
    """Countertop and shelf are reached from one place: either command leads there, and both are best."""
    here = oracle()
    assert here.distance() == 3
    assert here.plan()[1:] == [TAKE_MUG, TO_SHELF]
    assert here.best_commands() == [TO_COUNTER, "go to shelf 1"]


@pytest.mark.parametrize(
    ("win", "distance"),
    [
        (Goal("Mug", "Shelf", states=("clean",)), 6),  # go take, go clean, go put
        (Goal("Apple", "CounterTop", states=("hot",)), 7),  # go open take, go heat, go put
        (Goal("Apple", "Fridge", states=("cool",)), 5),  # go open take, cool, put
        (Goal("Mug", "Shelf", count=2), 7),  # go open take, go put, take put
        (Goal("Mug", lamp_type="DeskLamp"), 4),  # go take, go use
        # knife: go take; go slice; open, put the knife there, take; go heat open put
        (Goal("Apple", "Microwave", states=("hot", "sliced")), 11),
        (Goal("Mug", "Cabinet", all_closed=True), 0),  # mug 2 lies there
        (Goal("Mug", "Cabinet", count=2, all_closed=True), 6),  # go take, go open put close
    ],
    ids=repr,
)
def test_distance_of_goals_worked_by_hand(win: Goal, distance: int) -> None:
    """And the plan is as long, wins, and comes one command nearer with each."""
    here = oracle(win=win)
    assert here.distance() == len(here.plan()) == distance
    assert follow_plan(kitchen(win=win)) == (distance, "")


@pytest.mark.parametrize(
    ("commands", "win", "distance"),
    [
        # the hand is full: the knife goes back where it was
        ((TO_COUNTER, "take knife 1 from countertop 1"), Goal("Mug", "Shelf"), 3),
        ((TO_COUNTER, "take knife 1 from countertop 1", "go to sidetable 1"), Goal("Mug", "Shelf"), 4),
        ((TO_COUNTER, TAKE_MUG), Goal("Mug", "Shelf"), 1),
        ((TO_COUNTER, TAKE_MUG, TO_SHELF), Goal("Mug", "Shelf"), 0),
        ((TO_COUNTER, TAKE_MUG, TO_SHELF, "take mug 1 from shelf 1"), Goal("Mug", "Shelf"), 1),  # undone
        # in the place already, but not hot: take, go heat, go put
        ((TO_COUNTER, TAKE_MUG, TO_SHELF), Goal("Mug", "Shelf", states=("hot",)), 5),
        # clean, in the wrong place: take, put
        (CLEANED, Goal("Mug", "Shelf", states=("clean",)), 2),
        # the lamp is lit already: go back to it with the mug
        (("go to sidetable 1", "use desklamp 1"), Goal("Mug", lamp_type="DeskLamp"), 3),
    ],
)
def test_distance_in_the_middle_of_play(commands: tuple[str, ...], win: Goal, distance: int) -> None:
    """Things held, moved, treated, and a goal reached and undone."""
    here = oracle(*commands, win=win)
    assert here.distance() == len(here.plan()) == distance


def test_plan_puts_down_what_is_held_by_its_own_name() -> None:
    """Not by that of another item that would be in the way just as much."""
    bowl = replace(ITEMS[1], name="bowl 2", receptacles=(5,), locations=(5,))
    here = oracle("go to sidetable 1", "take bowl 2 from sidetable 1", items=(*ITEMS, bowl))
    assert here.plan()[1:3] == ["move bowl 2 to countertop 1", TAKE_MUG]


@pytest.mark.parametrize(
    ("commands", "changes"),
    [
        ((), {"win": Goal("Mug", "Bed")}),  # no such place
        ((), {"win": Goal("Spoon", "Shelf")}),  # no such thing
        ((), {"win": Goal("Mug", "Shelf", count=3)}),  # too few
        ((), {"win": Goal("Knife", "Shelf", states=("hot",))}),  # knives cannot be heated
        ((), {"win": Goal("Mug", "Shelf", states=("hot", "cool"))}),  # each undoes the other
        ((), {"can_contain": CAN_CONTAIN - {("Shelf", "Mug")}}),  # does not fit
        (  # the knife fits nowhere, so that the hand is never free again
            (TO_COUNTER, "take knife 1 from countertop 1"),
            {"can_contain": frozenset(pair for pair in CAN_CONTAIN if pair[1] != "Knife")},
        ),
    ],
)
def test_what_cannot_be_won_has_no_plan(commands: tuple[str, ...], changes: dict[str, Any]) -> None:
    """A distance of its own, which is not that of a distance that was not computed."""
    here = oracle(*commands, **changes)
    assert (here.distance(), here.plan(), here.best_commands()) == (UNWINNABLE, [], [])
    assert UNWINNABLE not in (-1, 0)


def test_won_game_asks_for_nothing_more() -> None:
    """Although play could go on."""
    here = oracle(TO_COUNTER, TAKE_MUG, TO_SHELF)
    assert (here.distance(), here.plan(), here.best_commands()) == (0, [], [])


def test_one_receptacle_open_at_a_time_costs_closing() -> None:
    """In old releases: the cabinet has to be closed again before the microwave opens."""
    win, commands = (
        Goal("Mug", "Microwave"),
        ("go to cabinet 1", "open cabinet 1", "take mug 2 from cabinet 1"),
    )
    assert oracle(*commands, win=win).distance() == 3  # go open put
    assert oracle(*commands, win=win, rules=Rules(one_open=True)).distance() == 4


def test_item_in_two_receptacles_is_in_place_though_held() -> None:
    """A few official items lie in two: taken from one, such a mug still lies in the other, as it does."""
    mug = Item("mug 1", "Mug", (1, 4), (ITEMS[5].locations[0],), pickupable=True, cleanable=True)
    win = Goal("Mug", "Shelf", states=("clean",))
    here = oracle(items=(*ITEMS[:5], mug), win=win)
    assert here.plan()[1:] == [TAKE_MUG, "go to sinkbasin 1", "clean mug 1 with sinkbasin 1"]


def test_oracle_equals_breadth_first_search() -> None:
    """On small games with everything awkward in them: distances, plans and best commands from many states."""
    compared = 0
    for seed in range(60):
        game = small_game(seed)
        start = some_state(game, seed)
        expected = distances(game, start, 400)
        if expected is None:
            continue  # too many states for a quick test; benchmarks/alfworld/oracle.py tries such games, too
        assert follow_plan_from(game, start) == "", seed
        for state in random.Random(seed).sample(sorted(expected), min(25, len(expected))):
            assert difference(game, state, expected, best=True) == "", seed
        compared += 1
    assert compared >= 20


def test_comparison_with_search_sees_a_wrong_distance() -> None:
    """Were the oracle off by one, too hopeful or too gloomy, the test above would fail."""
    game = kitchen(items=(ITEMS[5],), receptacles=kitchen().receptacles[:5])
    engine = started(game)
    start = forgetful(engine.get_state())
    expected = distances(game, start, 5_000)
    assert expected is not None and expected[start] == 3
    assert difference(game, start, expected, best=True) == ""
    for wrong in (2, 4, None):
        assert "by search" in difference(game, start, {**expected, start: wrong}, best=False)
    assert "best commands" in difference(game, start, {start: 3}, best=True)


def test_asking_does_not_touch_the_game() -> None:
    """The state afterwards is the state before."""
    engine = started(None, TO_COUNTER)
    before = engine.get_state()
    here = Oracle(engine)
    here.distance(), here.plan(), here.best_commands()
    assert engine.get_state() == before


def test_oracle_follows_the_engine() -> None:
    """One oracle, asked again after each command."""
    engine = started()
    here = Oracle(engine)
    seen = [here.distance()]
    for command in (TO_COUNTER, "go to sidetable 1", "look", TO_COUNTER, TAKE_MUG, TO_SHELF):
        engine.step(command)
        seen.append(here.distance())
    assert seen == [3, 2, 3, 3, 2, 1, 0]


def test_oracle_needs_names_that_differ() -> None:
    """Two mugs of the same name: a command cannot say which."""
    with pytest.raises(ValueError, match="the same name"):
        oracle(items=(*ITEMS[:5], replace(ITEMS[5], name="mug 2"))).distance()


@pytest.mark.parametrize("tier", sorted(TIERS))
def test_oracle_wins_generated_games(tier: str) -> None:
    """Of all task types, with no more commands than the walkthrough, and from wherever random play leads."""
    for split in SPLITS:
        for number in range(12):
            game = generate_game(tier, split, number)
            assert follow_plan(game)[1] == ""
            engine, rng = started(game), random.Random(number)
            for _ in range(20):
                engine.step(rng.choice(engine.admissible_commands()))
            assert follow_plan_from(game, engine.get_state()) == ""


def test_best_commands_are_those_that_come_nearer() -> None:
    """In official-size houses: each leads one nearer, and no other command does."""
    for number in range(6):
        engine = started(generate_game("small", "train", number))
        here = Oracle(engine)
        state, distance, plan, best = engine.get_state(), here.distance(), here.plan(), here.best_commands()
        nearer = []
        for command in engine.admissible_commands():
            engine.set_state(state)
            engine.step(command)
            nearer += [command] if here.distance() == distance - 1 else []
        assert best == nearer and plan[0] in best


def test_oracle_wins_official_games(official_games: Path) -> None:
    """A part of them; benchmarks/alfworld/oracle.py plays all. Never longer than the official walkthrough."""
    for file in find_files(official_games)[::40]:
        assert follow_plan(load_file(file))[1] == "", file.task_id


def test_oracle_wins_games_of_old_releases(old_official_games: Path) -> None:
    """Slices, one receptacle open at a time, all closed in the end; one game has a lamp that is of no use."""
    lengths = {}
    for file in sorted(old_official_games.rglob("*.tw-pddl")):
        if "movable" not in str(file):
            lengths[file.parts[-3]] = follow_plan(load_game(file))
    unwinnable = [name for name, (length, _) in lengths.items() if not length]
    assert unwinnable == ["look_at_obj_in_light-RemoteControl-None-FloorLamp-219"]
    assert all(problem == "" for name, (_, problem) in lengths.items() if name not in unwinnable)
