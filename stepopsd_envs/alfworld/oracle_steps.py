"""The steps of a plan: go to a place, open a receptacle if needed, and do one thing there.

Every plan can be rewritten in this form without more commands: a receptacle need not be opened before it is
used, and going to a place without doing anything there does not help.
"""

from collections.abc import Iterator
from typing import NamedTuple

from stepopsd_envs.alfworld.moves import Move
from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.world import bits


class Step(NamedTuple):
    """A move, and the receptacle to go to for it; -1 if it is done at the agent's place."""

    move: Move
    receptacle: int


class Option(NamedTuple):
    """A possible step, its number of commands, and the situation after it."""

    commands: int
    step: Step
    after: Situation


def fetch(house: House, now: Situation, item: int) -> Iterator[Option]:
    """Take an item out of any receptacle in which it lies; the hand must be empty."""
    if not house.pickupable >> item & 1:
        return
    slot = house.slot_of[item]
    for receptacle in bits(now.where[slot]):
        if entered := _enter(house, now, receptacle):
            commands, opened = entered
            place = house.place_of[receptacle]
            where = _replaced(now.where, slot, now.where[slot] & ~(1 << receptacle))
            present = _replaced(now.present, slot, now.present[slot] & ~(1 << place))
            after = Situation(place, item, opened, where, present, now.marks)
            yield Option(commands + 1, Step(Move("PickupObject", receptacle, item), receptacle), after)


def put(house: House, now: Situation, receptacle: int) -> Iterator[Option]:
    """Put the held item into a receptacle into which it fits."""
    if entered := _enter(house, now, receptacle):
        commands, opened = entered
        place, slot = house.place_of[receptacle], house.slot_of.get(now.held)
        where, present = now.where, now.present
        if slot is not None:
            where = _replaced(where, slot, where[slot] | 1 << receptacle)
            if house.asks_presence:
                present = _replaced(present, slot, present[slot] | 1 << place)
        after = Situation(place, -1, opened, where, present, now.marks)
        yield Option(commands + 1, Step(Move("PutObject", receptacle, now.held), receptacle), after)


def treat(house: House, now: Situation, state: int) -> Iterator[Option]:
    """Clean, heat or cool the held item in any receptacle that produces this state."""
    marks = _replaced(now.marks, state, now.marks[state] | 1 << now.held)
    for receptacle in bits(house.tools[state]):
        place = house.place_of[receptacle]
        after = Situation(place, now.held, now.opened, now.where, now.present, marks)
        move = Move(house.actions[state], receptacle, now.held)
        yield Option(1 + (place != now.location), Step(move, receptacle), after)


def cut(house: House, now: Situation, item: int) -> Iterator[Option]:
    """Slice an item, wherever it is, with the knife in the hand."""
    marks = _replaced(now.marks, house.slicing, now.marks[house.slicing] | 1 << item)
    move = Move("SliceObject", item=item, tool=now.held)
    return _at(house, now, now.present[house.slot_of[item]], move, marks)


def switch(house: House, now: Situation, lamp: int) -> Iterator[Option]:
    """Switch a lamp on."""
    slot, marks = house.slot_of[lamp], (now.marks[0] | 1 << lamp,)
    places = now.present[slot] if house.toggle_by_location else house.places(now.where[slot])
    return _at(house, now, places, Move("ToggleObject", item=lamp), marks)


def go(house: House, now: Situation, places: int) -> Iterator[Option]:
    """Go to any of these places, each of which must have a receptacle."""
    for place in bits(places & ~(1 << now.location)):
        move = Move("GotoLocation", _door(house, place))
        yield Option(1, Step(move, -1), Situation(place, *now[1:]))


def close(house: House, now: Situation) -> Iterator[Option]:
    """Close any receptacle."""
    for receptacle in bits(now.opened & house.openable):
        place = house.place_of[receptacle]
        after = Situation(place, now.held, now.opened & ~(1 << receptacle), *now[3:])
        yield Option(1 + (place != now.location), Step(Move("CloseObject", receptacle), receptacle), after)


def moves_of(house: House, now: Situation, step: Step) -> Iterator[Move]:
    """The moves of a step; each is one command."""
    receptacle = step.receptacle
    if receptacle >= 0 and house.place_of[receptacle] != now.location:
        yield Move("GotoLocation", receptacle)
    if step.move.action in ("PickupObject", "PutObject") and house.openable & ~now.opened & 1 << receptacle:
        yield Move("OpenObject", receptacle)
    yield step.move


def _enter(house: House, now: Situation, receptacle: int) -> tuple[int, int] | None:
    """Commands to go to and open a receptacle, and the mask of open ones then; None: it stays closed."""
    ways = int(house.place_of[receptacle] != now.location)
    if not house.openable & ~now.opened & 1 << receptacle:
        return ways, now.opened
    if house.one_open and now.opened:
        return None
    return ways + 1, now.opened | 1 << receptacle


def _at(house: House, now: Situation, places: int, move: Move, marks: tuple[int, ...]) -> Iterator[Option]:
    """Make a move at any of these places; the agent cannot go to a place without receptacles."""
    for place in bits(places):
        after = Situation(place, *now[1:5], marks)
        if place == now.location:
            yield Option(1, Step(move, -1), after)
        elif house.receptacles_at[place]:
            yield Option(2, Step(move, _door(house, place)), after)


def _door(house: House, place: int) -> int:
    """A receptacle at a place; `go to` needs its name."""
    return next(bits(house.receptacles_at[place]))


def _replaced(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])
