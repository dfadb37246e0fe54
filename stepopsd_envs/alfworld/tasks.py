"""The six task types: their wording in official games, the treatment of the object, and their needs."""

from typing import NamedTuple

GOAL_TEXTS = {
    "pick_and_place_simple": ("put a {object} in {target}.", "put some {object} on {target}."),
    "pick_clean_then_place_in_recep": (
        "put a clean {object} in {target}.",
        "clean some {object} and put it in {target}.",
    ),
    "pick_heat_then_place_in_recep": (
        "put a hot {object} in {target}.",
        "heat some {object} and put it in {target}.",
    ),
    "pick_cool_then_place_in_recep": (
        "put a cool {object} in {target}.",
        "cool some {object} and put it in {target}.",
    ),
    "look_at_obj_in_light": (
        "look at {object} under the {target}.",
        "examine the {object} with the {target}.",
    ),
    "pick_two_obj_and_place": (
        "put two {object} in {target}.",
        "find two {object} and put them in {target}.",
    ),
}


class Tool(NamedTuple):
    """The treatment of a task's object: verb, type of the receptacle that does it, resulting state."""

    verb: str
    receptacle: str
    state: str


TOOLS = {
    "pick_clean_then_place_in_recep": Tool("clean", "SinkBasin", "clean"),
    "pick_heat_then_place_in_recep": Tool("heat", "Microwave", "hot"),
    "pick_cool_then_place_in_recep": Tool("cool", "Fridge", "cool"),
}


class Task(NamedTuple):
    """A task before its house is drawn; ``target`` is the type of a receptacle, or of the lamp."""

    type: str
    room: str
    object: str
    target: str

    @property
    def number(self) -> int:
        """Number of goal objects: 2 in a two-object task, else 1."""
        return 2 if self.type == "pick_two_obj_and_place" else 1

    @property
    def is_look(self) -> bool:
        """Whether the object must be held in the light of a lamp."""
        return self.type == "look_at_obj_in_light"

    @property
    def starts_elsewhere(self) -> bool:
        """Whether goal objects must not start in the target: the game would begin won, or half won."""
        return self.type not in TOOLS and not self.is_look

    @property
    def objects(self) -> dict[str, int]:
        """Number of objects needed, by type."""
        return {self.object: self.number, self.target: 1} if self.is_look else {self.object: self.number}

    @property
    def receptacles(self) -> list[str]:
        """The receptacle types needed, without those in which the objects lie at the start."""
        tool = [TOOLS[self.type].receptacle] if self.type in TOOLS else []
        return tool if self.is_look else [self.target, *tool]
