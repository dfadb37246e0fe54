"""The counts in the oracle's lower bounds: changes of place, and receptacles to open and to close."""

from stepopsd_envs.alfworld.oracle_house import House, Situation

Stages = tuple[int, ...]
"""Masks of places: the plan must visit a place of the first mask, then one of the second, and so on."""


def visits(start: int, stages: Stages) -> int:
    """The least number of changes of place, starting from any place in `start`."""
    count = 0
    for stage in stages:
        if start & stage:
            start &= stage
        else:
            count, start = count + 1, stage
    return count


def ways_to_drop(house: House, now: Situation, fitting: int, to_open: int) -> tuple[tuple[int, Stages], ...]:
    """Ways to put down the held item: pairs of the number of receptacles to open and the stages to visit.

    Args:
        house: tables of the game.
        now: the situation.
        fitting: mask of the receptacles into which the item fits; 0 if nothing has to be put down.
        to_open: mask of the receptacles that will be opened in any case.
    """
    if not fitting:
        return ((0, ()),)
    anywhere = (0 if fitting & to_open else 1, (house.places(fitting),))
    opened = fitting & (now.opened | ~house.openable)
    return (anywhere, (0, (house.places(opened),))) if opened else (anywhere,)


def closed_source(house: House, now: Situation, sources: int) -> int:
    """Mask of the one receptacle to open for an item in `sources`; 0 if it is open or there are several."""
    only_one = sources & (sources - 1) == 0
    return sources & house.openable & ~now.opened if only_one else 0


def opening_and_closing(house: House, now: Situation, to_open: int, on_the_way: int) -> int | None:
    """The commands to open the receptacles in `to_open`, and to close what must be closed; None: impossible.

    Closing a receptacle at a place that is not in the mask `on_the_way` takes one more visit.
    """
    opening = to_open.bit_count()
    if house.plain or not (house.all_closed or opening):
        return opening
    if now.opened & ~house.openable:  # it is open and cannot be closed
        return None
    closing = now.opened.bit_count() + opening
    if not house.all_closed:
        closing -= 1  # the last may stay open
    return opening + closing + (house.places(now.opened) & ~on_the_way).bit_count()
