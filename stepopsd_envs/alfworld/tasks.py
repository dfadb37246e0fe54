"""The six tasks as the official games word them, and what three of them do to the object on the way."""

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
    """What a task does to its object: the verb, the receptacle type that does it, the state it gives."""

    verb: str
    receptacle: str
    state: str


TOOLS = {
    "pick_clean_then_place_in_recep": Tool("clean", "SinkBasin", "clean"),
    "pick_heat_then_place_in_recep": Tool("heat", "Microwave", "hot"),
    "pick_cool_then_place_in_recep": Tool("cool", "Fridge", "cool"),
}
