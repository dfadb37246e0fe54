"""`Game`: one household and one task, read from an official file or generated, and played by the engine."""

from dataclasses import astuple, dataclass
from functools import cached_property
from hashlib import blake2b

from stepopsd_envs.alfworld.rules import CURRENT_RULES, Goal, Rules
from stepopsd_envs.alfworld.wording import DEFAULT_WORDING, Wording

TASK_TYPES = (
    "pick_and_place_simple",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "look_at_obj_in_light",
    "pick_two_obj_and_place",
)


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A piece of furniture that items lie in or on.

    Attributes:
        name: as in commands, e.g. "drawer 2".
        type: e.g. "Drawer".
        location: index of the place from which the agent reaches it; several receptacles may share a place.
        openable: whether it can be opened and closed; a receptacle that is not openable counts as open.
        opened: whether it is open at the start.
    """

    name: str
    type: str
    location: int
    openable: bool = False
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A thing in the household, with its abilities and its state at the start.

    Attributes:
        name: as in commands, e.g. "mug 1".
        type: e.g. "Mug"; "" if the file gives none (the item then fits nowhere).
        receptacles: indices of the receptacles in which it lies: none for a thing such as a window; a few
            items of the official games lie in two.
        locations: indices of its places; nearly always the location of its receptacle.
        pickupable, cleanable, heatable, coolable, sliceable, toggleable: its abilities.
        clean, hot, cool, sliced, toggled: its state at the start.
        vessel: whether it is a small container such as a bowl; texts describe a vessel by its contents.
        contents: indices of the items inside a vessel (constant: nothing can be put into a vessel).
    """

    name: str
    type: str
    receptacles: tuple[int, ...] = ()
    locations: tuple[int, ...] = ()
    pickupable: bool = False
    cleanable: bool = False
    heatable: bool = False
    coolable: bool = False
    sliceable: bool = False
    toggleable: bool = False
    clean: bool = False
    hot: bool = False
    cool: bool = False
    sliced: bool = False
    toggled: bool = False
    vessel: bool = False
    contents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Game:
    """One household and one task.

    Texts list receptacles and items in the order of these tuples. In official games the order is alphabetical
    with falling numbers: drawer 2, drawer 1, fridge 1.

    Attributes:
        task_id: canonical id, e.g. "valid_seen/<task>/<trial>" or "generated/small/train/7".
        task_type: one of `TASK_TYPES`.
        goal: the instruction, as printed after "Your task is to: ", with its full stop.
        receptacles, items: the household; they refer to each other by index.
        can_contain: pairs (receptacle type, item type): items of the type fit into receptacles of the type.
        location_names: one per place, "loc 3" (only old releases print them); places are indices into it.
        start_location: place of the agent at the start; normally the middle of a room, without receptacles.
        win: the condition that wins.
        wording: the texts; `DEFAULT_WORDING` has those of the current official games.
        rules: the rules, which vary between releases.
        walkthrough: commands that win, or () if not known.
    """

    task_id: str
    task_type: str
    goal: str
    receptacles: tuple[Receptacle, ...]
    items: tuple[Item, ...]
    can_contain: frozenset[tuple[str, str]]
    location_names: tuple[str, ...]
    start_location: int
    win: Goal
    wording: Wording = DEFAULT_WORDING
    rules: Rules = CURRENT_RULES
    walkthrough: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """Hash of the id alone: equal games have equal ids, and hashing hundreds of fields is slow."""
        return hash(self.task_id)

    @cached_property
    def content_hash(self) -> str:
        """Hash of everything that play depends on, 32 hexadecimal digits; the id does not enter."""
        return blake2b(repr(self._content()).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def _content(self) -> tuple[object, ...]:
        rules = [sorted(value) if isinstance(value, frozenset) else value for value in astuple(self.rules)]
        contained = sorted(self.can_contain)
        household = (self.receptacles, self.items, contained, self.location_names, self.start_location)
        return (self.task_type, self.goal, household, self.win, self.wording, rules)
