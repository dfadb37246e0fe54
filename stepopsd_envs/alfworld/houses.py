"""The statistics of official houses (``houses.json``) and how to draw from them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

Placed = list[tuple[str, int | None]]
"""Objects: the type, and the number of the receptacle that it lies in, if it lies in one."""


@lru_cache(maxsize=1)
def statistics() -> dict[str, Any]:
    """Counts over official training games, as ``benchmarks/houses/counts.py`` measures them."""
    loaded: dict[str, Any] = json.loads(
        files(__package__).joinpath("houses.json").read_text(encoding="utf-8")
    )
    return loaded


def full_statistics(room: str) -> dict[str, Any]:
    """What houses of tier ``full`` are drawn from, as ``benchmarks/houses/choices.py`` measures it."""
    found: dict[str, Any] = statistics()["full"][room]
    return found


def named(kinds: Iterable[str]) -> list[tuple[str, str]]:
    """(type, name) in the order in which texts list things: by type, with falling numbers."""
    counts = Counter(kinds)
    order = sorted(counts, key=str.lower)
    return [(kind, f"{kind.lower()} {number}") for kind in order for number in range(counts[kind], 0, -1)]


def draw(rng: np.random.Generator, weights: Mapping[T, int]) -> T:
    """Draw a key with a chance in proportion to its value."""
    point = int(rng.integers(sum(weights.values())))
    for value, weight in weights.items():
        point -= weight
        if point < 0:
            return value
    raise AssertionError("the point lies below the sum of the weights")


def shuffled(rng: np.random.Generator, values: Sequence[T]) -> list[T]:
    """The values in random order."""
    return [values[i] for i in rng.permutation(len(values))]


def draw_number(rng: np.random.Generator, room: str, what: str, kind: str) -> int:
    """How many "receptacles" or "objects" of a type there are in a house of this kind of room; often none."""
    counts = statistics()["rooms"][room]
    seen = counts[what].get(kind, {})
    return int(draw(rng, {**seen, "0": counts["games"] - sum(seen.values())}))


def draw_openable(rng: np.random.Generator, kind: str) -> bool:
    """Whether a receptacle of this type can be opened; some cabinets and drawers always stand open."""
    hinged, every = statistics()["openable"].get(kind, (0, 1))
    return bool(rng.integers(every) < hinged)


def places(room: str, kind: str) -> dict[str, int]:
    """The receptacle types that objects of a type lie in, with how many do."""
    found: dict[str, int] = statistics()["rooms"][room]["places"].get(kind, {})
    return found


def without(weights: Mapping[str, int], excluded: str) -> dict[str, int]:
    """The weights of all other keys."""
    return {key: weight for key, weight in weights.items() if key != excluded}


def can_contain(kind: str) -> tuple[str, ...]:
    """The object types that may be put into a receptacle type."""
    return tuple(statistics()["can_contain"].get(kind, ()))
