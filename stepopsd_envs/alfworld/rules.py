"""What wins a game, and the few rules in which releases of the games differ."""

from dataclasses import dataclass

STATES = ("clean", "hot", "cool", "sliced")
"""The states of an item that a goal may ask for."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins: `count` items of one type in one receptacle, or an item held in the light of a lamp.

    Attributes:
        item_type: type of the items that count, e.g. "Mug".
        receptacle_type: where they have to lie, e.g. "Cabinet"; "" in a look-at-in-light task.
        count: how many different items have to lie in one and the same receptacle.
        states: of `STATES`, what each of these items has to be.
        lamp_type: in a look-at-in-light task, the type of a lamp, switched on, at the place of the agent.
        all_closed: whether every receptacle has to be closed as well (in old releases only).
    """

    item_type: str
    receptacle_type: str = ""
    count: int = 1
    states: tuple[str, ...] = ()
    lamp_type: str = ""
    all_closed: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the household; the defaults are those of the current release.

    Attributes:
        clean_in: types of receptacles that clean an item. Likewise `heat_in` and `cool_in`.
        slice_with: types of items that slice others.
        help: whether the command `help` exists.
        one_open: whether a receptacle opens only while all are closed.
        toggle_by_location: whether an item can be switched outside of receptacles, where the agent is.
    """

    clean_in: frozenset[str] = frozenset({"Sink", "SinkBasin"})
    heat_in: frozenset[str] = frozenset({"Microwave"})
    cool_in: frozenset[str] = frozenset({"Fridge"})
    slice_with: frozenset[str] = frozenset({"Knife", "ButterKnife"})
    help: bool = True
    one_open: bool = False
    toggle_by_location: bool = False


CURRENT_RULES = Rules()
"""The rules of the current release."""
