"""Houses of tier ``full``: one room, with counts, places and neighbours as in official houses.

The number of receptacles and objects of each type follows measured histograms; for types that the goal names,
the histogram of games whose goal names them. Each object is placed in a receptacle by measured weights. There
are also things in no receptacle, such as windows, and some receptacles share a place.

Simpler than official games: nothing lies in a bowl or in two receptacles at once, and nothing starts cool.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepopsd_envs.alfworld.houses import Placed, draw, draw_openable, full_statistics, named, shuffled
from stepopsd_envs.alfworld.model import Receptacle
from stepopsd_envs.alfworld.tasks import Task


def draw_full_house(rng: np.random.Generator, task: Task) -> tuple[tuple[Receptacle, ...], Placed]:
    """Draw the receptacles and objects of a house in which the task can be done."""
    room = full_statistics(task.room)
    counts = _numbers(rng, room["receptacles"], dict.fromkeys(task.receptacles, 1))
    homes = set(room["places"][task.object]) - ({task.target} if task.starts_elsewhere else set())
    _ensure(rng, counts, homes, room["places"][task.object])
    if task.is_look:
        _ensure(rng, counts, set(room["places"][task.target]), room["places"][task.target])
    things = named(counts.elements())
    places = _places(rng, room, [kind for kind, _ in things])
    receptacles = tuple(
        Receptacle(name, kind, place, draw_openable(rng, kind))
        for (kind, name), place in zip(things, places, strict=True)
    )
    return receptacles, _lay_out(rng, room, task, receptacles)


def _numbers(
    rng: np.random.Generator, statistics: Mapping[str, Any], asked: Mapping[str, int]
) -> Counter[str]:
    """Draw the number of each type, at least as many as asked; some types share one draw of the house."""
    common = float(rng.random())
    counts: Counter[str] = Counter()
    for kind, measured in statistics.items():
        independent, following = rng.random(2).tolist()
        share = measured["follows"] / 100
        point = independent if following >= abs(share) else common if share > 0 else 1 - common
        counts[kind] = _number_at(point, measured["asked" if kind in asked else "other"], asked.get(kind, 0))
    return counts


def _number_at(point: float, histogram: Mapping[str, int], least: int) -> int:
    """The quantile at ``point``, from 0 to 1, of the histogram's numbers from ``least`` up."""
    numbers = sorted((int(number), often) for number, often in histogram.items() if int(number) >= least)
    remaining = point * sum(often for _, often in numbers)
    for number, often in numbers:
        remaining -= often
        if remaining < 0:
            return number
    return max((number for number, _ in numbers), default=least)


def _ensure(
    rng: np.random.Generator, counts: Counter[str], kinds: set[str], weights: Mapping[str, int]
) -> None:
    """Add a receptacle of one of the types if the house has none."""
    if not any(counts[kind] for kind in kinds):
        counts[draw(rng, {kind: weight for kind, weight in weights.items() if kind in kinds})] += 1


def _places(rng: np.random.Generator, room: Mapping[str, Any], kinds: Sequence[str]) -> list[int]:
    """Draw the place of each receptacle; some share one with others of their type or of another type."""
    members: dict[str, list[list[int]]] = {}
    for kind in dict.fromkeys(kinds):
        left = shuffled(rng, [number for number, other in enumerate(kinds) if other == kind])
        while left:
            size = int(draw(rng, room["groups"].get(kind, {"1": 1})))
            members.setdefault(kind, []).append(left[:size])
            left = left[size:]
    place_of = {number: group[0] for groups in members.values() for group in groups for number in group}
    for kind, groups in members.items():
        for group in groups:
            other = draw(rng, room["neighbours"].get(kind, {"": 1}))
            if other in members:
                moved = members[other][int(rng.integers(len(members[other])))]
                place_of |= dict.fromkeys(moved, place_of[group[0]])
    places = [place_of[number] for number in range(len(kinds))]
    order = list(dict.fromkeys(places))
    return [order.index(place) for place in places]


def _lay_out(
    rng: np.random.Generator, room: Mapping[str, Any], task: Task, receptacles: Sequence[Receptacle]
) -> Placed:
    """Place every object, those that the goal needs first; an object that fits nowhere is left out."""
    counts = _numbers(rng, room["objects"], task.objects)
    asked = [kind for kind in counts.elements() if kind in task.objects]
    others = shuffled(rng, [kind for kind in counts.elements() if kind not in task.objects])
    free = [room["capacity"][receptacle.type] for receptacle in receptacles]
    placed: Placed = []
    for kind in [*asked, *others]:
        weights = dict(room["places"][kind])
        if kind == task.object and task.starts_elsewhere:
            weights.pop(task.target, None)
        fits = {n: weights[r.type] for n, r in enumerate(receptacles) if r.type in weights}
        where = {number: weight for number, weight in fits.items() if free[number] > 0}
        if kind in task.objects:
            where = where or fits  # a receptacle over capacity is better than a game that cannot be won
        if where:
            chosen = draw(rng, where)
            free[chosen] -= 1
            placed.append((kind, chosen))
    return shuffled(rng, placed + [(kind, None) for kind in _fixtures(rng, room)])


def _fixtures(rng: np.random.Generator, room: Mapping[str, Any]) -> list[str]:
    """The types of things that are in no receptacle, one entry per thing."""
    fixtures: Mapping[str, Mapping[str, int]] = room["fixtures"]
    return [kind for kind, often in fixtures.items() for _ in range(int(draw(rng, often)))]
