"""Smallest values of settings, kept at their fields, and the check that reads them."""

from dataclasses import field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Number = TypeVar("Number")


def at_least(least: float, default: Number) -> Number:
    """A dataclass field with this default, whose values `check_values` refuses below ``least``."""
    made: Number = field(default=default, metadata={"least": least})
    return made


def check_values(section: Any, path: str = "") -> None:
    """Check a dataclass of settings, and those inside it, against what their fields allow.

    Args:
        section: the settings.
        path: put before the names in messages, such as "learner.".

    Raises:
        ValueError: a number is none, or below its smallest value, or a word is none of the choices.
    """
    hints = get_type_hints(type(section))
    for spec in fields(section):
        value, least, choices = getattr(section, spec.name), spec.metadata.get("least"), hints[spec.name]
        if is_dataclass(value):
            check_values(value, f"{path}{spec.name}.")
        if choices in (int, float) and not isinstance(value, int | float):
            raise ValueError(f"{path}{spec.name} is {value!r}; give a number")
        if least is not None and isinstance(value, int | float) and value < least:  # not "auto", not absent
            raise ValueError(f"{path}{spec.name} is {value}; the smallest value is {least}")
        if get_origin(choices) is Literal and value not in get_args(choices):
            allowed = ", ".join(map(str, get_args(choices)))
            raise ValueError(f"{path}{spec.name} is {value!r}; allowed are {allowed}")
