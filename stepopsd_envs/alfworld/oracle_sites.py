"""Candidate receptacles for putting down the held item; of equivalent receptacles only one is kept."""

from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.world import bits


def for_good(house: House, start: Situation, item: int, sources: int) -> list[int]:
    """Receptacles for an item that is not needed again, in a house where nothing has to be closed.

    The item is put down at the current place or at the places of `sources`, the mask of receptacles to fetch
    from, preferably into a receptacle that is open or will be opened anyway; otherwise anywhere.
    """
    elsewhere, opened = house.fitting[item], start.opened | ~house.openable
    useful = (1 << start.location | house.places(sources)) & ~(1 << house.nowhere)
    chosen = []
    for place in bits(useful):
        there = elsewhere & house.receptacles_at[place]
        elsewhere &= ~there
        chosen += _first(there & opened) or list(bits(there & sources)) or _first(there)
    return chosen + (_first(elsewhere & opened) or _first(elsewhere))


def for_now(house: House, start: Situation, item: int, useful: int) -> list[int]:
    """Receptacles for an item that may be needed again.

    All at the places in the mask `useful`; elsewhere those at one of several equivalent places. Places are
    equivalent if their receptacles are equally open, take the same relevant items, and hold none of them.
    """
    opened = start.opened | ~house.openable
    handled = house.relevant | (1 << start.held if start.held >= 0 else 0)
    chosen: list[int] = []
    seen: set[tuple[tuple[int, int], ...]] = set()
    for place in bits(house.places(house.fitting[item])):
        here = house.receptacles_at[place]
        if not useful >> place & 1:
            like = tuple(sorted((opened >> r & 1, house.fitting_in[r] & handled) for r in bits(here)))
            if like in seen:
                continue
            seen.add(like)
        chosen += bits(here & house.fitting[item])
    return chosen


def _first(receptacles: int) -> list[int]:
    return [next(bits(receptacles))] if receptacles else []
