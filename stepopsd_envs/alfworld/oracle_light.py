"""Win by holding an item in the light of a lamp: lower bound and next steps."""

from collections.abc import Iterator
from typing import NamedTuple

from stepopsd_envs.alfworld.oracle_bounds import (
    Stages,
    closed_source,
    opening_and_closing,
    visits,
    ways_to_drop,
)
from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.oracle_sites import for_good, for_now
from stepopsd_envs.alfworld.oracle_steps import Option, close, fetch, go, put, switch


class _Errand(NamedTuple):
    """The work that remains until the hand holds the item.

    Attributes:
        commands: number of commands to take it and to put down another item, without going and opening.
        sources: mask of the receptacles to take it from.
        drop: mask of the receptacles into which the item in the hand fits, 0 if nothing has to be put down.
    """

    commands: int
    sources: int
    drop: int


class Illumination:
    """A goal binding: hold `item` at the place of `lamp`, which is switched on and lies in a receptacle.

    A lamp that can be carried ("mobile") allows more choices; no official game has one.
    """

    def __init__(self, house: House, start: Situation, item: int, lamp: int) -> None:
        """Bind the goal, to be reached from `start`."""
        self._house, self._start, self._item, self._lamp = house, start, item, lamp
        self._mobile = start.held == lamp or bool(house.pickupable >> lamp & 1)
        self._slot, self._lamp_slot = house.slot_of[item], house.slot_of[lamp]
        self._sites: dict[int, list[int]] = {}

    def bound(self, now: Situation) -> int | None:
        """A lower bound on the number of commands, 0 only if the goal is reached; None: impossible."""
        house, errand, switching = self._house, self._errand(now), self._switching(now)
        if errand is None or switching is None:
            return None
        here, light = 1 << now.location, house.places(now.where[self._lamp_slot])
        to_open = closed_source(house, now, errand.sources)
        commands = errand.commands + len(switching)
        if self._mobile:
            moves = int(not (commands or here & light))
        else:
            moves = self._moves(now, errand, to_open, switching, light)
        on_the_way = here | light | house.places(errand.sources) | house.places(errand.drop)
        for places in switching:
            on_the_way |= places
        rest = opening_and_closing(house, now, to_open, on_the_way)
        return None if rest is None else commands + moves + rest

    def _errand(self, now: Situation) -> _Errand | None:
        house, where = self._house, now.where[self._slot]
        if now.held == self._item:
            return _Errand(0, 0, 0)
        if not where or not house.pickupable >> self._item & 1:
            return None
        if now.held < 0:
            return _Errand(1, where, 0)
        return _Errand(2, where, house.fitting[now.held]) if house.fitting[now.held] else None

    def _switching(self, now: Situation) -> Stages | None:
        """The stage at which to switch the lamp on, none if it is on; None: it can never give light."""
        house, lamp_in = self._house, now.where[self._lamp_slot]
        if not lamp_in and now.held != self._lamp:
            return None
        if now.marks[0] >> self._lamp & 1:
            return ()
        places = now.present[self._lamp_slot] if house.toggle_by_location else house.places(lamp_in)
        return (places,) if places or self._mobile else None

    def _moves(self, now: Situation, errand: _Errand, to_open: int, switching: Stages, light: int) -> int:
        """Least number of changes of place; the lamp can be switched on before, between or after the rest."""
        house, here = self._house, 1 << now.location
        fetching = (house.places(errand.sources),) if errand.sources else ()
        counts = []
        for opening, dropping in ways_to_drop(house, now, errand.drop, to_open):
            stages = (*dropping, *fetching)
            for k in range(len(stages) + 1):
                counts.append(opening + visits(here, (*stages[:k], *switching, *stages[k:], light)))
        return min(counts)

    def options(self, now: Situation) -> Iterator[Option]:
        """The steps that can be part of a shortest plan."""
        house, held, lamp_lit = self._house, now.held, now.marks[0] >> self._lamp & 1
        if not lamp_lit:
            yield from switch(house, now, self._lamp)
        if held < 0:
            yield from fetch(house, now, self._item)
            if self._mobile and self._lamp != self._item:
                yield from fetch(house, now, self._lamp)
        elif held == self._item and lamp_lit:
            yield from go(house, now, house.places(now.where[self._lamp_slot]))
        if held >= 0 and (held != self._item or self._mobile):
            for receptacle in self._sites_for(held):
                yield from put(house, now, receptacle)
        if not house.plain:
            yield from close(house, now)

    def _sites_for(self, held: int) -> list[int]:
        if held not in self._sites:
            house, start = self._house, self._start
            if house.plain and not self._mobile:
                self._sites[held] = for_good(house, start, held, start.where[self._slot])
            else:
                fixed = start.where[self._slot] | start.where[self._lamp_slot] | start.opened
                useful = 1 << start.location | house.places(fixed) | start.present[self._lamp_slot]
                self._sites[held] = for_now(house, start, held, useful)
        return self._sites[held]
