"""What the bounds of the oracle count: changes of place, and receptacles to open and to close."""

from stepopsd_envs.alfworld.oracle_house import House, Situation

Stages = tuple[int, ...]
"""Masks of places: one of the first has to be visited, then one of the second, and so on."""


def visits(start: int, stages: Stages) -> int:
    """How often the place has to change, starting from one of `start`."""
    count = 0
    for stage in stages:
        if start & stage:
            start &= stage
        else:
            count, start = count + 1, stage
    return count


def ways_to_drop(house: House, now: Situation, fitting: int, to_open: int) -> tuple[tuple[int, Stages], ...]:
    """How much opening it takes to be rid of what is held, and where to go for it.

    Args:
        house: its tables.
        now: the situation.
        fitting: mask of the receptacles that take it; 0 if nothing is in the way.
        to_open: mask of the receptacles that are going to be opened in any case.
    """
    if not fitting:
        return ((0, ()),)
    anywhere = (0 if fitting & to_open else 1, (house.places(fitting),))
    opened = fitting & (now.opened | ~house.openable)
    return (anywhere, (0, (house.places(opened),))) if opened else (anywhere,)


def closed_source(house: House, now: Situation, sources: int) -> int:
    """The receptacle to open for what lies in `sources`, a mask; 0 if one is open, or there is a choice."""
    only_one = sources & (sources - 1) == 0
    return sources & house.openable & ~now.opened if only_one else 0


def opening_and_closing(house: House, now: Situation, to_open: int, on_the_way: int) -> int | None:
    """Commands for opening these receptacles and for what has to be closed before or after; None: impossible.

    To close something at a place that is not `on_the_way`, a mask, takes another visit.
    """
    opening = to_open.bit_count()
    if house.plain or not (house.all_closed or opening):
        return opening
    if now.opened & ~house.openable:  # it stands open and cannot be closed
        return None
    closing = now.opened.bit_count() + opening
    if not house.all_closed:
        closing -= 1  # the last may stay open
    return opening + closing + (house.places(now.opened) & ~on_the_way).bit_count()
