"""Smallest values of settings, kept at their fields."""

from dataclasses import field
from typing import TypeVar

Number = TypeVar("Number")


def at_least(least: float, default: Number) -> Number:
    """A dataclass field with this default, whose values the commands refuse below ``least``."""
    made: Number = field(default=default, metadata={"least": least})
    return made
