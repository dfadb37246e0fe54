"""One household and one task: what is read from official files or generated, and what the engine plays."""

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
        name: as commands spell it, e.g. "drawer 2".
        type: e.g. "Drawer".
        location: index of the place where the agent stands to reach it; several receptacles may share one.
        openable: whether it can be opened and closed; one that is not openable counts as open.
        opened: whether it is open at the start.
    """

    name: str
    type: str
    location: int
    openable: bool = False
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A thing in the household, with what can be done to it and its state at the start.

    Attributes:
        name: as commands spell it, e.g. "mug 1".
        type: e.g. "Mug"; "" when the file gives none (it then fits nowhere).
        receptacles: indices of the receptacles it lies in: none for a thing such as a window; a few items of
            the official games lie in two.
        locations: indices of the places it is at; nearly always the location of its receptacle.
        pickupable, cleanable, heatable, coolable, sliceable, toggleable: what can be done to it.
        clean, hot, cool, sliced, toggled: its state at the start.
        vessel: whether it is a small container such as a bowl, which is described by its contents.
        contents: indices of the items inside a vessel (fixed: nothing can be put into a vessel).
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

    Texts list receptacles and items in the order of these tuples. In official games that is the order of the
    words with falling numbers: drawer 2, drawer 1, fridge 1.

    Attributes:
        task_id: canonical id, e.g. "valid_seen/<task>/<trial>" or "generated/small/train/7".
        task_type: one of `TASK_TYPES`.
        goal: the instruction, as printed after "Your task is to: ", with its full stop.
        receptacles, items: the household; they refer to each other by index.
        can_contain: pairs (receptacle type, item type) that may be put together.
        location_names: one per place, "loc 3" (only old releases print them); places are indices into it.
        start_location: where the agent starts; normally a place without receptacles, the middle of a room.
        win: what wins.
        wording: the texts; `DEFAULT_WORDING` are those of the current official games.
        rules: in which rules the release differs.
        walkthrough: commands that win, or () when not known.
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
        """Of the id alone: equal games have equal ids, and a household has hundreds of fields."""
        return hash(self.task_id)

    @cached_property
    def content_hash(self) -> str:
        """Hash of all that play depends on: equal for games that play alike, whatever their ids."""
        return blake2b(repr(self._content()).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def _content(self) -> tuple[object, ...]:
        rules = [sorted(value) if isinstance(value, frozenset) else value for value in astuple(self.rules)]
        contained = sorted(self.can_contain)
        household = (self.receptacles, self.items, contained, self.location_names, self.start_location)
        return (self.task_type, self.goal, household, self.win, self.wording, rules)
