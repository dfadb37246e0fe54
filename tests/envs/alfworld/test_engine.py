"""The native engine: what commands do, how it is told, and what wins."""

from dataclasses import replace
from typing import Any

import pytest

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import Goal, Rules
from tests.helpers.alfworld_games import COUNTER, ITEMS, TABLE, kitchen, started

NOTHING = "Nothing happens."
ALWAYS = ["help", "inventory", "look"]


def won(engine: Engine) -> bool:
    """Whether the goal holds now."""
    return engine.won


def local_commands(engine: Engine) -> list[str]:
    """The admissible commands but for those that are nearly always there."""
    return [
        command
        for command in engine.admissible_commands()
        if command[:5] != "go to" and command not in ALWAYS
    ]


def test_reset_tells_the_room_and_the_task() -> None:
    """The opening text of the original, in the order of the receptacles."""
    assert Engine(kitchen()).reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, a countertop 1, "
        "a fridge 1, a microwave 1, a shelf 1, a sidetable 1, and a sinkbasin 1.\n\n"
        "Your task is to: put a mug in shelf."
    )


def test_admissible_commands_at_the_start() -> None:
    """Sorted, and a list of the caller's own."""
    engine = started()
    places = ["cabinet 1", "countertop 1", "fridge 1", "microwave 1", "shelf 1", "sidetable 1", "sinkbasin 1"]
    commands = engine.admissible_commands()
    assert commands == [*(f"go to {place}" for place in places), *ALWAYS]
    commands.clear()
    assert engine.admissible_commands()


def test_going_shows_what_is_there() -> None:
    """Lists of none, two and three items; a closed door; the article is always "a", as in the original."""
    engine = started()
    assert engine.step("go to cabinet 1") == "You arrive at cabinet 1. The cabinet 1 is closed."
    assert engine.step("go to shelf 1") == "You arrive at shelf 1. On the shelf 1, you see nothing."
    assert (
        engine.step("go to sidetable 1")
        == "You arrive at sidetable 1. On the sidetable 1, you see a desklamp 1."
    )
    assert engine.step("go to countertop 1") == (
        "You arrive at countertop 1. On the countertop 1, you see a bowl 1, a knife 1, and a mug 1."
    )
    engine.step("take bowl 1 from countertop 1")
    assert engine.step("examine countertop 1") == "On the countertop 1, you see a knife 1, and a mug 1."


def test_receptacles_at_one_place_are_reached_together() -> None:
    """Neither can be gone to from there, both can be used."""
    engine = started(None, "go to shelf 1")
    assert "go to countertop 1" not in engine.admissible_commands()
    assert engine.step("go to countertop 1") == NOTHING
    assert local_commands(engine) == [
        "examine countertop 1", "examine shelf 1",
        "take bowl 1 from countertop 1", "take knife 1 from countertop 1", "take mug 1 from countertop 1",
    ]  # fmt: skip
    assert engine.step("look") == "You are facing the countertop 1, and shelf 1. Next to it, you see nothing."


def test_look_tells_what_was_moved_to_a_neighbour() -> None:
    """A peculiarity of the original: what was moved within a place lies "next to it"."""
    engine = started(None, "go to shelf 1", "take mug 1 from countertop 1", "move mug 1 to shelf 1")
    assert engine.step("look") == "You are facing the countertop 1, and shelf 1. Next to it, you see a mug 1."
    for command in ("take mug 1 from shelf 1", "move mug 1 to countertop 1"):
        engine.step(command)
    assert engine.step("look").endswith("Next to it, you see a mug 1.")  # it left the shelf now


def test_doors_open_and_close() -> None:
    """What is behind a door can be seen and taken only when it is open."""
    engine = started(None, "go to cabinet 1")
    assert local_commands(engine) == ["examine cabinet 1", "open cabinet 1"]
    assert (
        engine.step("open cabinet 1")
        == "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 2."
    )
    assert local_commands(engine) == ["close cabinet 1", "examine cabinet 1", "take mug 2 from cabinet 1"]
    assert engine.step("open cabinet 1") == NOTHING
    assert engine.step("take mug 2 from cabinet 1") == "You pick up the mug 2 from the cabinet 1."
    assert engine.step("examine cabinet 1") == "The cabinet 1 is open. In it, you see nothing."
    assert engine.step("close cabinet 1") == "You close the cabinet 1."
    assert local_commands(engine) == ["examine cabinet 1", "examine mug 2", "open cabinet 1"]


def test_one_hand_holds_one_item() -> None:
    """The inventory, and no second item."""
    engine = started(None, "go to countertop 1")
    assert engine.step("inventory") == "You are not carrying anything."
    engine.step("take knife 1 from countertop 1")
    assert engine.step("inventory") == "You are carrying: a knife 1."
    assert engine.step("take mug 1 from countertop 1") == NOTHING
    assert engine.step("move knife 1 to shelf 1") == "You move the knife 1 to the shelf 1."
    assert engine.step("examine shelf 1") == "On the shelf 1, you see a knife 1."
    assert engine.step("inventory") == "You are not carrying anything."


def test_only_what_fits_can_be_put() -> None:
    """An apple does not go on the shelf, a bowl only on the countertop."""
    engine = started(None, "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to shelf 1")
    assert [command for command in engine.admissible_commands() if command.startswith("move")] == [
        "move apple 1 to countertop 1"
    ]


def test_only_what_is_held_can_be_examined() -> None:
    """A peculiarity of the original's domain."""
    engine = started(None, "go to countertop 1")
    assert engine.step("examine mug 1") == NOTHING
    engine.step("take mug 1 from countertop 1")
    assert engine.step("examine mug 1") == "There's nothing special about mug 1."
    engine.step("move mug 1 to countertop 1")
    engine.step("take bowl 1 from countertop 1")
    assert engine.step("examine bowl 1") == "This is a normal bowl 1. In it, you see a mug 2."


def test_clean_heat_cool_change_an_item() -> None:
    """Each state is told; heat takes cold away and the other way round; closed doors do not matter."""
    engine = started(None, "go to countertop 1", "take mug 1 from countertop 1", "go to microwave 1")
    assert engine.step("heat mug 1 with microwave 1") == "You heat the mug 1 using the microwave 1."
    assert engine.step("examine mug 1") == "This is a hot mug 1."
    engine.step("go to fridge 1")
    assert engine.step("cool mug 1 with fridge 1") == "You cool the mug 1 using the fridge 1."
    assert engine.step("examine mug 1") == "This is a cold mug 1."
    engine.step("go to sinkbasin 1")
    assert engine.step("clean mug 1 with sinkbasin 1") == "You clean the mug 1 using the sinkbasin 1."
    assert engine.step("examine mug 1") == "This is a cool and clean mug 1."
    engine.step("go to microwave 1")
    engine.step("heat mug 1 with microwave 1")
    assert engine.step("examine mug 1") == "This is a hot and clean mug 1."


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ("clean hot sliced", "This is a hot and clean sliced apple 1."),
        ("clean cool sliced", "This is a cool and clean sliced apple 1."),
        ("clean sliced", "This is a clean sliced apple 1."),
        ("hot sliced", "This is a hot sliced apple 1."),
        ("cool sliced", "This is a cool sliced apple 1."),
        ("clean", "This is a clean apple 1."),
        ("sliced", "This is a sliced apple 1."),
        ("toggleable toggled", "This apple 1 is on."),
        ("toggleable", "There's nothing special about apple 1."),
    ],
)
def test_examine_tells_the_state(states: str, text: str) -> None:
    """All combinations that the original has words for; states at the start count."""
    flags: dict[str, Any] = dict.fromkeys(states.split(), True)
    items = (replace(ITEMS[0], receptacles=(1,), locations=(COUNTER,), **flags), *ITEMS[1:])
    engine = started(kitchen(items=items), "go to countertop 1", "take apple 1 from countertop 1")
    assert engine.step("examine apple 1") == text


def test_slicing_needs_a_held_knife_and_the_place_only() -> None:
    """The fridge may be closed, as in the original."""
    engine = started(None, "go to countertop 1", "take knife 1 from countertop 1", "go to fridge 1")
    assert engine.step("slice apple 1 with knife 1") == "You sliced the apple 1 with the knife 1."
    for command in ("go to countertop 1", "move knife 1 to countertop 1", "go to fridge 1", "open fridge 1"):
        engine.step(command)
    assert engine.step("slice apple 1 with knife 1") == NOTHING
    engine.step("take apple 1 from fridge 1")
    assert engine.step("examine apple 1") == "This is a sliced apple 1."


def test_help_lists_the_commands() -> None:
    """The same text as the original, with its odd alignment of one line."""
    lines = started().step("help").split("\n")
    assert (lines[0], lines[-1], len(lines)) == ("Available commands:", "", 15)
    assert lines[1] == "  look:                             look around your current location"
    assert lines[7] == "  move (object) to (receptacle):  place an object in or on a receptacle"


def test_won_is_what_holds_now() -> None:
    """Play goes on after the goal is reached, and taking the item back undoes it."""
    engine = started(None, "go to countertop 1", "take mug 1 from countertop 1")
    assert not won(engine)
    engine.step("move mug 1 to shelf 1")
    assert won(engine)
    engine.step("look")
    assert won(engine)
    engine.step("take mug 1 from shelf 1")
    assert not won(engine)


def test_won_needs_two_different_items_in_one_receptacle() -> None:
    """Two mugs on one shelf."""
    engine = started(
        kitchen(win=Goal("Mug", "Shelf", count=2)), "go to shelf 1", "take mug 1 from countertop 1"
    )
    engine.step("move mug 1 to shelf 1")
    assert not won(engine)
    for command in ("go to cabinet 1", "open cabinet 1", "take mug 2 from cabinet 1", "go to shelf 1"):
        engine.step(command)
    engine.step("move mug 2 to countertop 1")
    assert not won(engine)
    engine.step("take mug 2 from countertop 1")
    engine.step("move mug 2 to shelf 1")
    assert won(engine)


def test_won_needs_the_state() -> None:
    """A hot mug; cooling it again undoes it."""
    engine = started(kitchen(win=Goal("Mug", "CounterTop", states=("hot",))), "go to countertop 1")
    assert not won(engine)  # a mug lies there, but it is not hot
    for command in ("take mug 1 from countertop 1", "go to microwave 1", "heat mug 1 with microwave 1"):
        engine.step(command)
    assert not won(engine)
    engine.step("go to countertop 1")
    engine.step("move mug 1 to countertop 1")
    assert won(engine)


def test_won_in_light_needs_the_lamp_here_and_on() -> None:
    """The item in the hand, the lamp switched on and near; a lamp stays on."""
    win = Goal("Mug", lamp_type="DeskLamp")
    engine = started(
        kitchen(win=win), "go to countertop 1", "take mug 1 from countertop 1", "go to sidetable 1"
    )
    assert not won(engine)
    assert engine.step("use desklamp 1") == "You turn on the desklamp 1."
    assert won(engine)
    assert engine.step("use desklamp 1") == "You turn on the desklamp 1."
    assert won(engine)
    engine.step("move mug 1 to sidetable 1")
    assert not won(engine)
    engine.step("take mug 1 from sidetable 1")
    assert won(engine)
    engine.step("go to shelf 1")
    assert not won(engine)


def test_won_can_ask_for_closed_doors() -> None:
    """A condition of old releases."""
    win = Goal("Mug", "CounterTop", all_closed=True)
    engine = started(kitchen(win=win))
    assert won(engine)
    engine = started(kitchen(win=win), "go to cabinet 1", "open cabinet 1")
    assert not won(engine)


def test_rules_of_old_releases() -> None:
    """One door at a time, lamps outside of receptacles, no help."""
    floor = replace(ITEMS[2], receptacles=(), locations=(TABLE,))
    rules = Rules(help=False, one_open=True, toggle_by_location=True)
    game = kitchen(rules=rules, items=(*ITEMS[:2], floor, *ITEMS[3:]))
    engine = started(game, "go to cabinet 1", "open cabinet 1", "go to fridge 1")
    assert "help" not in engine.admissible_commands()
    assert engine.step("open fridge 1") == NOTHING
    for command in ("go to cabinet 1", "close cabinet 1", "go to fridge 1"):
        engine.step(command)
    assert engine.step("open fridge 1").startswith("You open")
    engine.step("go to sidetable 1")
    assert engine.step("use desklamp 1") == "You turn on the desklamp 1."


def test_an_item_may_lie_in_two_receptacles() -> None:
    """The official data has such items: taken from one, it stays in the other."""
    items = (*ITEMS[:5], replace(ITEMS[5], receptacles=(1, 5), locations=(COUNTER,)), ITEMS[6])
    engine = started(
        kitchen(items=items), "go to countertop 1", "take mug 1 from countertop 1", "go to sidetable 1"
    )
    assert engine.step("examine sidetable 1") == "On the sidetable 1, you see a desklamp 1, and a mug 1."
    assert "take mug 1 from sidetable 1" not in engine.admissible_commands()
    engine.step("go to countertop 1")
    assert engine.step("move mug 1 to countertop 1") == "You move the mug 1 to the countertop 1."
