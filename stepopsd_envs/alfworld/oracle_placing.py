"""Win by putting items into a receptacle: lower bound and next steps."""

from collections.abc import Iterator, Sequence
from itertools import permutations
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
from stepopsd_envs.alfworld.oracle_steps import Option, close, cut, fetch, put, treat
from stepopsd_envs.alfworld.world import bits


class _Errand(NamedTuple):
    """The work that remains with one item.

    Attributes:
        commands: number of commands to take, treat, slice and put it, without going and opening.
        sources: mask of the receptacles to take it from; 0 if it is in the hand or need not be taken.
        bring: whether it must be put into the target.
        routes: alternative orders of places to visit with it; none if it need not be in the hand.
    """

    commands: int
    sources: int
    bring: bool
    routes: tuple[Stages, ...]


_DONE = _Errand(0, 0, False, ())


class Placement:
    """A goal binding: bring `items`, each in the states that the goal requires, into the receptacle `target`.

    It leaves few choices, so its bound is nearly always exact. If nothing has to be sliced and any number
    of receptacles may be open ("strict"), the items are brought one after the other: putting an item aside
    and taking it again costs two commands, finishing it first costs at most two.
    """

    def __init__(self, house: House, start: Situation, target: int, items: Sequence[int]) -> None:
        """Bind the goal, to be reached from `start`."""
        self._house, self._start, self._target, self._items = house, start, target, items
        sliced = start.marks[house.slicing] if house.slicing >= 0 else -1
        self._slicing = any(not sliced >> item & 1 for item in items)
        self._strict = not (self._slicing or house.one_open)
        self._errands: dict[tuple[int, int, int, bool], _Errand | None] = {}
        self._sites: dict[int, list[int]] = {}

    def bound(self, now: Situation) -> int | None:
        """A lower bound on the number of commands, 0 only if the goal is reached; None: impossible."""
        house, commands, to_open = self._house, 0, 0
        errands: list[_Errand] = []
        for item in self._items:
            errand = self._errand(now, item)
            if errand is None:
                return None
            if errand is not _DONE:
                errands.append(errand)
                commands += errand.commands
                to_open |= closed_source(house, now, errand.sources)
                if errand.bring:
                    to_open |= 1 << self._target & house.openable & ~now.opened
        knife = self._knife(now, to_open)
        drop = self._drop(now, errands, bool(knife))
        if knife is None or drop is None:
            return None
        moves = self._moves(now, errands, drop, to_open)
        on_the_way = 0 if house.plain else self._on_the_way(now, errands, drop)
        rest = opening_and_closing(house, now, to_open, on_the_way)
        return None if rest is None else commands + knife + bool(drop) + moves + rest

    def _errand(self, now: Situation, item: int) -> _Errand | None:
        """The work that remains with an item; None: impossible."""
        missing = 0
        for index, marked in enumerate(now.marks):
            if not marked >> item & 1:
                missing |= 1 << index
        key = (item, now.where[self._house.slot_of[item]], missing, now.held == item)
        if key not in self._errands:
            self._errands[key] = self._new_errand(*key)
        return self._errands[key]

    def _new_errand(self, item: int, where: int, missing: int, held: bool) -> _Errand | None:
        house, target = self._house, 1 << self._target
        tools = [house.tools[index] for index in bits(missing) if index != house.slicing]
        # An item can lie in two receptacles, hence be in the target and in the hand at the same time.
        bring = not where & target or (bool(tools) and not held and where == target)
        commands = missing.bit_count() + bring
        if not (tools or bring):
            return _Errand(commands, 0, False, ()) if missing else _DONE
        takeable = held or (where and house.pickupable >> item & 1)
        if not (takeable and all(tools)) or (bring and not house.fitting[item] & target):
            return None
        first = () if held else (house.places(where),)
        last = (house.places(target),) if bring else ()
        routes = tuple((*first, *order, *last) for order in permutations(map(house.places, tools)))
        return _Errand(commands + (not held), 0 if held else where, bring, routes)

    def _knife(self, now: Situation, to_open: int) -> int | None:
        """Number of commands to get a knife into the hand, 0 if none is needed; None: there is no knife."""
        house = self._house
        if not self._unsliced(now) or (now.held >= 0 and house.knives >> now.held & 1):
            return 0
        places = [now.where[house.slot_of[knife]] for knife in bits(house.knives & house.pickupable)]
        if not any(places):
            return None
        closed = house.openable & ~now.opened & ~to_open
        return 1 + all(place & ~closed == 0 for place in places)

    def _unsliced(self, now: Situation) -> list[int]:
        if not self._slicing:
            return []
        return [item for item in self._items if not now.marks[self._house.slicing] >> item & 1]

    def _drop(self, now: Situation, errands: Sequence[_Errand], knife: bool) -> int | None:
        """Mask of receptacles for a held item that is in the way, 0 if none is; None: it fits nowhere."""
        in_the_way = now.held >= 0 and not any(errand.routes and not errand.sources for errand in errands)
        if not in_the_way or not (knife or any(errand.sources for errand in errands)):
            return 0
        return self._house.fitting[now.held] or None

    def _moves(self, now: Situation, errands: Sequence[_Errand], drop: int, to_open: int) -> int:
        """Changes of place, plus the receptacles to open for putting down the held item."""
        here, home = 1 << now.location, 1 << self._house.place_of[self._target]
        carried = [errand for errand in errands if errand.routes]
        in_hand = [errand for errand in carried if not errand.sources]
        if not (self._strict and (len(carried) < 2 or all(errand.bring for errand in carried))):
            return _fewest_moves(here, carried, bool(in_hand))
        if not carried:
            return 0
        loops = sum(_way(home, errand) for errand in carried)  # each begins where the previous one ends
        return loops - max(
            _way(home, errand) - _way(here, errand, dropping) - opening
            for errand in in_hand or carried
            for opening, dropping in ways_to_drop(self._house, now, drop, to_open)
        )

    def _on_the_way(self, now: Situation, errands: Sequence[_Errand], drop: int) -> int:
        places = 1 << now.location | self._house.places(drop)
        for errand in errands:
            for stage in errand.routes[0] if errand.routes else ():
                places |= stage
        return places

    def options(self, now: Situation) -> Iterator[Option]:
        """The steps that can be part of a shortest plan."""
        unsliced = self._unsliced(now)
        yield from self._fetching(now, unsliced) if now.held < 0 else self._handling(now, unsliced)
        if not self._house.plain:
            yield from close(self._house, now)

    def _fetching(self, now: Situation, unsliced: Sequence[int]) -> Iterator[Option]:
        house, items = self._house, dict.fromkeys(unsliced)
        for item in self._items:
            errand = self._errand(now, item)
            if errand is not None and errand.sources:
                items[item] = None
        if unsliced:
            items |= dict.fromkeys(bits(house.knives))
        for item in items:
            yield from fetch(house, now, item)

    def _handling(self, now: Situation, unsliced: Sequence[int]) -> Iterator[Option]:
        house, held = self._house, now.held
        errand = self._errand(now, held) if held in self._items else None
        unfinished = errand is not None and errand.routes
        untreated = [i for i, marked in enumerate(now.marks) if i != house.slicing and not marked >> held & 1]
        if unfinished:
            for state in untreated:
                yield from treat(house, now, state)
        if errand is not None and errand.bring and not (self._strict and untreated):
            yield from put(house, now, self._target)
        if not (self._strict and unfinished):
            for receptacle in self._sites_for(held):
                yield from put(house, now, receptacle)
        if unsliced and house.knives >> held & 1:
            for item in unsliced:
                yield from cut(house, now, item)

    def _sites_for(self, held: int) -> list[int]:
        if held not in self._sites:
            house, start = self._house, self._start
            sources = 0
            for item in self._items:
                sources |= start.where[house.slot_of[item]]
            if house.plain and self._strict:
                self._sites[held] = for_good(house, start, held, sources)
            else:
                for receptacles in (1 << self._target, start.opened, *start.where, *house.tools):
                    sources |= receptacles
                useful = 1 << start.location | house.places(sources)
                self._sites[held] = for_now(house, start, held, useful)
        return self._sites[held]


def _way(start: int, errand: _Errand, before: Stages = ()) -> int:
    return min(visits(start, (*before, *route)) for route in errand.routes)


def _fewest_moves(here: int, carried: Sequence[_Errand], in_hand: bool) -> int:
    """Changes of place with each item in the hand, plus one unless an item is in the hand or in reach."""
    count = 0
    for errand in carried:
        count += _way(errand.routes[0][0] if errand.sources else here, errand)
    reached = in_hand or any(errand.routes[0][0] & here for errand in carried)
    return count + (bool(carried) and not reached)
