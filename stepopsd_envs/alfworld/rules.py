"""The goal of a game, and the few rules that vary between releases of the games."""

from dataclasses import dataclass

STATES = ("clean", "hot", "cool", "sliced")
"""The states of an item that a goal may require."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The winning condition: `count` items of a type in one receptacle, or an item held in a lamp's light.

    Attributes:
        item_type: type of the items, e.g. "Mug".
        receptacle_type: type of the receptacle, e.g. "Cabinet"; "" in a look-at-in-light task.
        count: number of different items that must lie in the same receptacle.
        states: the `STATES` that each of these items must have.
        lamp_type: in a look-at-in-light task, type of the lamp, which must be lit at the agent's place.
        all_closed: whether every receptacle must be closed as well (in old releases only).
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
        clean_in, heat_in, cool_in: types of receptacles that clean, heat or cool an item.
        slice_with: types of items that slice other items.
        help: whether the command `help` exists.
        one_open: whether a receptacle can be opened only while all are closed.
        toggle_by_location: whether every item at the agent's place can be switched, also outside receptacles.
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
