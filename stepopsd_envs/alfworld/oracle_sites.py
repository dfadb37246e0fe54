"""Where it can pay to put down what is in the hand: of receptacles that are alike, one."""

from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.world import bits


def for_good(house: House, start: Situation, item: int, sources: int) -> list[int]:
    """Receptacles for an item that will not be needed again, in a house where nothing has to be closed.

    It is put down here, or on the way where things are fetched from (`sources`, a mask of receptacles), best
    into what stands open or is opened anyway; or else anywhere.
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
    """Receptacles for an item that may be needed again: all at useful places, one of alike places elsewhere.

    Places are alike if their receptacles are open alike, take the same of the things that matter, and hold
    none of them.
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
