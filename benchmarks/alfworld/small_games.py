"""Small games with all special cases, small enough for breadth-first search.

They have several receptacles at one place; items in two receptacles or in none; goals with several items and
states, with slicing, with all receptacles closed; lamps that can be carried; items that fit nowhere; knives
that are goal items; the rules of old releases. Most of this is rare or absent in official games, but the
oracle must handle it.
"""

import random
from collections.abc import Sequence
from typing import Any

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.model import Game, Item, Receptacle
from stepopsd_envs.alfworld.rules import Goal, Rules
from stepopsd_envs.alfworld.world import EngineState

WANTED, LAMP, KNIFE, OTHER = "Mug", "DeskLamp", "Knife", "Vase"
_KINDS = ("Cabinet", "Shelf", "Fridge", "Microwave", "SinkBasin")
_TOOLS = {"clean": "SinkBasin", "hot": "Microwave", "cool": "Fridge"}
_STATES: tuple[tuple[str, ...], ...] = (
    (),
    ("clean",),
    ("hot",),
    ("cool",),
    ("clean", "hot"),
    ("hot", "cool"),
)
_ABILITIES = ("pickupable", "cleanable", "heatable", "coolable", "sliceable")


class Dice:
    """A random generator with a rate of special cases; the higher the rate, the fewer games can be won."""

    def __init__(self, seed: int) -> None:
        """Seed the generator and draw the rate."""
        self.rng = random.Random(seed)
        self.oddness = self.rng.choice((0.02, 0.05, 0.1, 0.25))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def oddly(self) -> bool:
        """Return True if a special case shall occur."""
        return self.chance(self.oddness)


def small_game(seed: int) -> Game:
    """The game of this seed: two to five receptacles and up to four items."""
    dice = Dice(seed)
    rng, places = dice.rng, dice.rng.randint(2, 4)
    kinds = [rng.choice(_KINDS) for _ in range(rng.randint(2, 5))]
    win = _goal(dice, kinds)
    helpers = [LAMP] * bool(win.lamp_type) + [KNIFE] * ("sliced" in win.states)
    names = [WANTED] * win.count + helpers
    names += [rng.choice([WANTED, OTHER, *helpers]) for _ in range(rng.randint(0, max(0, 4 - len(names))))]
    receptacles = tuple(_receptacle(dice, number, kind, places) for number, kind in enumerate(kinds))
    fits = [(kind, name) for kind in sorted({*kinds}) for name in (WANTED, LAMP, KNIFE, OTHER)]
    return Game(
        task_id=f"small/{seed}",
        task_type="look_at_obj_in_light" if win.lamp_type else "pick_and_place_simple",
        goal="win.",
        receptacles=receptacles,
        items=tuple(_item(dice, number, name, receptacles) for number, name in enumerate(names)),
        can_contain=frozenset([pair for pair in fits if not dice.oddly()]),
        location_names=tuple(f"loc {place}" for place in range(places)),
        start_location=rng.randrange(places),
        win=win,
        rules=Rules(
            slice_with=frozenset([KNIFE, WANTED] if dice.oddly() else [KNIFE]),
            one_open=dice.chance(0.2),
            toggle_by_location=dice.chance(0.3),
        ),
    )


def some_state(game: Game, seed: int) -> EngineState:
    """A start state: after random commands, and sometimes changed in ways that commands cannot."""
    dice, engine = Dice(seed), Engine(game)
    engine.reset()
    for _ in range(dice.rng.randrange(20)):
        engine.step(dice.rng.choice(engine.admissible_commands()))
    state = engine.get_state()
    if dice.chance(0.3):
        openable = [number for number, place in enumerate(game.receptacles) if place.openable]
        opened = sum(1 << number for number in openable if dice.chance(0.5))
        some, others = (dice.rng.getrandbits(len(game.items)) for _ in range(2))
        state = state._replace(opened=opened, hot=state.hot | some, toggled=state.toggled & others)
    return state


def _goal(dice: Dice, kinds: Sequence[str]) -> Goal:
    """Draw a goal, mostly one that the receptacles allow."""
    aim, all_closed = dice.rng.choice(("place", "place", "two", "light", "slice")), dice.chance(0.2)
    if aim == "light":
        return Goal(WANTED, lamp_type=WANTED if dice.oddly() else LAMP, all_closed=all_closed)
    possible = [states for states in _STATES if all(_TOOLS[state] in kinds for state in states)]
    states: tuple[str, ...] = () if aim == "two" else dice.rng.choice(_STATES if dice.oddly() else possible)
    if aim == "slice":
        states = (*states[: dice.rng.randrange(2)], "sliced")
    count = 2 if aim == "two" or dice.oddly() else 1
    return Goal(WANTED, "Bed" if dice.oddly() else kinds[0], count, states, all_closed=all_closed)


def _receptacle(dice: Dice, number: int, kind: str, places: int) -> Receptacle:
    openable = dice.chance(0.5)
    opened = dice.chance(0.4) if openable else dice.chance(0.02)
    return Receptacle(f"{kind.lower()} {number}", kind, dice.rng.randrange(places - 1), openable, opened)


def _item(dice: Dice, number: int, name: str, receptacles: Sequence[Receptacle]) -> Item:
    count = 0 if dice.chance(0.02) else 1 + dice.chance(0.15)
    where = sorted(dice.rng.sample(range(len(receptacles)), min(count, len(receptacles))))
    there = {receptacles[at].location for at in where}
    if dice.chance(0.05):  # at a place other than that of its receptacle
        there = {dice.rng.choice(receptacles).location}
    fields: dict[str, Any] = {ability: not dice.oddly() for ability in _ABILITIES}
    if name == LAMP:
        fields["pickupable"] = dice.chance(0.2)
    fields["toggleable"] = not dice.oddly() if name == LAMP else dice.chance(0.5)
    fields |= {state: dice.chance(0.1) for state in ("clean", "hot", "cool", "sliced", "toggled")}
    return Item(f"{name.lower()} {number}", name, tuple(where), tuple(sorted(there)), **fields)
