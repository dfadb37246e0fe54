"""Bindings of the goal's variables: items with a receptacle or a lamp; equivalent bindings appear once."""

from collections.abc import Iterator
from itertools import combinations
from typing import Protocol

from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.oracle_light import Illumination
from stepopsd_envs.alfworld.oracle_placing import Placement
from stepopsd_envs.alfworld.oracle_steps import Option
from stepopsd_envs.alfworld.world import bits


class GoalBinding(Protocol):
    """The goal with its variables bound. The shortest plan over all bindings is one of the game."""

    def bound(self, now: Situation) -> int | None:
        """A lower bound on the commands left, 0 only if the goal is reached; None if it cannot be."""

    def options(self, now: Situation) -> Iterator[Option]:
        """The steps that can be part of a shortest plan."""
        ...


def goal_bindings(house: House, start: Situation) -> Iterator[GoalBinding]:
    """All bindings, up to equivalence."""
    if house.win.lamp_type:
        for item in bits(house.wanted):
            for lamp in bits(house.lamps):
                yield Illumination(house, start, item, lamp)
    else:
        for target in _targets(house, start):
            for items in _choices(house, start, target):
                yield Placement(house, start, target, items)


def _choices(house: House, start: Situation, target: int) -> Iterator[tuple[int, ...]]:
    """Choices of items for the target: those already there in the right states, completed by any others."""
    treated = house.wanted
    for marked in start.marks:
        treated &= marked
    done = [item for item in bits(treated) if start.where[house.slot_of[item]] >> target & 1]
    others = {item: _likeness(house, start, item) for item in bits(house.wanted) if item not in done}
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for chosen in combinations(others, max(0, house.win.count - len(done))):
        alike = tuple(sorted(others[item] for item in chosen))
        if alike not in seen:
            seen.add(alike)
            yield (*done, *chosen)


def _likeness(house: House, start: Situation, item: int) -> tuple[int, ...]:
    """A key that is equal for equivalent items of the goal's type."""
    slot = house.slot_of[item]
    able = (house.pickupable >> item & 1, house.knives >> item & 1)
    marks = (marked >> item & 1 for marked in start.marks)
    return (start.held == item, start.where[slot], start.present[slot], *able, *marks)


def _targets(house: House, start: Situation) -> Iterator[int]:
    """Receptacles of the goal's type: all at useful places, elsewhere one of several equivalent ones."""
    used = 1 << start.location
    for receptacles in (*house.tools, *start.where, 0 if house.plain else start.opened):
        used |= house.places(receptacles)
    for places in start.present:
        used |= places
    opened = start.opened | ~house.openable
    handled = house.relevant | (1 << start.held if start.held >= 0 else 0)
    seen: set[tuple[object, ...]] = set()
    for target in bits(house.targets):
        place = house.place_of[target]
        here = bits(house.receptacles_at[place])
        like = sorted((opened >> r & 1, house.targets >> r & 1, house.fitting_in[r] & handled) for r in here)
        alike = (opened >> target & 1, *like)
        if used >> place & 1 or alike not in seen:
            seen.add(alike)
            yield target
