"""Statistics of official houses (``houses.json``), and functions that draw from them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

Placed = list[tuple[str, int | None]]
"""Per object its type and the index of its receptacle; None for an object in no receptacle."""


@lru_cache(maxsize=1)
def statistics() -> dict[str, Any]:
    """Counts over the official training games, measured by ``benchmarks/houses/counts.py``."""
    loaded: dict[str, Any] = json.loads(
        files(__package__).joinpath("houses.json").read_text(encoding="utf-8")
    )
    return loaded


def full_statistics(room: str) -> dict[str, Any]:
    """Statistics of a room for houses of tier ``full``, measured by ``benchmarks/houses/choices.py``."""
    of_room: dict[str, Any] = statistics()["full"][room]
    return of_room


def named(kinds: Iterable[str]) -> list[tuple[str, str]]:
    """(type, name) of things in the order in which texts list them: by type, with falling numbers."""
    counts = Counter(kinds)
    order = sorted(counts, key=str.lower)
    return [(kind, f"{kind.lower()} {number}") for kind in order for number in range(counts[kind], 0, -1)]


def draw(rng: np.random.Generator, weights: Mapping[T, int]) -> T:
    """Draw a key with probability proportional to its value."""
    point = int(rng.integers(sum(weights.values())))
    for value, weight in weights.items():
        point -= weight
        if point < 0:
            return value
    raise AssertionError("unreachable: the point lies below the sum of the weights")


def shuffled(rng: np.random.Generator, values: Sequence[T]) -> list[T]:
    """The values in random order."""
    return [values[i] for i in rng.permutation(len(values))]


def draw_number(rng: np.random.Generator, room: str, what: str, kind: str) -> int:
    """Draw the number of "receptacles" or "objects" (``what``) of a type in a room of this kind; often 0."""
    counts = statistics()["rooms"][room]
    seen = counts[what].get(kind, {})
    return int(draw(rng, {**seen, "0": counts["games"] - sum(seen.values())}))


def draw_openable(rng: np.random.Generator, kind: str) -> bool:
    """Draw whether a receptacle of this type can be opened; some cabinets and drawers are always open."""
    hinged, every = statistics()["openable"].get(kind, (0, 1))
    return bool(rng.integers(every) < hinged)


def places(room: str, kind: str) -> dict[str, int]:
    """The receptacle types in which objects of a type lie, with counts."""
    counts: dict[str, int] = statistics()["rooms"][room]["places"].get(kind, {})
    return counts


def without(weights: Mapping[str, int], excluded: str) -> dict[str, int]:
    """The weights without the excluded key."""
    return {key: weight for key, weight in weights.items() if key != excluded}


def can_contain(kind: str) -> tuple[str, ...]:
    """The object types that fit into a receptacle type."""
    return tuple(statistics()["can_contain"].get(kind, ()))
