"""Houses of the tiers ``tiny`` and ``small``: a sample of the receptacles and objects of one or two rooms.

The things that the goal needs are drawn first, then others up to the size of the house. Tests pin the content
of these games, so a change in this module must not change the draws.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepopsd_envs.alfworld.houses import (
    Placed,
    draw,
    draw_number,
    draw_openable,
    named,
    places,
    shuffled,
    statistics,
    without,
)
from stepopsd_envs.alfworld.model import Receptacle
from stepopsd_envs.alfworld.tasks import TOOLS, Task


@dataclass(frozen=True)
class Size:
    """The size of a house.

    Attributes:
        rooms: number of kinds of rooms from which receptacles and objects are drawn.
        receptacles: least and greatest number of receptacles.
        alike: greatest number of receptacles of one type.
        objects: least and greatest number of objects.
        copies: greatest number of objects of one type.
    """

    rooms: int
    receptacles: tuple[int, int]
    alike: int
    objects: tuple[int, int]
    copies: int


def draw_small_house(
    rng: np.random.Generator, task: Task, size: Size
) -> tuple[tuple[Receptacle, ...], Placed]:
    """Draw the receptacles and objects of a house in which the task can be done."""
    others = [room for room in statistics()["rooms"] if room != task.room]
    rooms = [task.room, *shuffled(rng, others)][: size.rooms]
    receptacles = _draw_receptacles(rng, size, rooms, _draw_needed(rng, task))
    return receptacles, _lay_out(rng, size, rooms, task, receptacles)


def _draw_needed(rng: np.random.Generator, task: Task) -> list[str]:
    """Draw receptacle types: source of the object, its target (or the lamp's receptacle), and the tool."""
    home = draw(rng, without(places(task.room, task.object), task.target))
    target = draw(rng, places(task.room, task.target)) if task.is_look else task.target
    return [home, target, TOOLS[task.type].receptacle] if task.type in TOOLS else [home, target]


def _draw_receptacles(
    rng: np.random.Generator, size: Size, rooms: Sequence[str], needed: Sequence[str]
) -> tuple[Receptacle, ...]:
    chosen = Counter(dict.fromkeys(needed, 1))
    available = chosen.copy()
    for room in rooms:
        for kind in statistics()["rooms"][room]["receptacles"]:
            number = min(draw_number(rng, room, "receptacles", kind), size.alike)
            available[kind] = max(available[kind], number)
    others = shuffled(rng, list((available - chosen).elements()))
    total = int(rng.integers(size.receptacles[0], size.receptacles[1] + 1))
    chosen.update(others[: max(0, total - len(chosen))])
    names = enumerate(named(chosen.elements()))
    return tuple(Receptacle(name, kind, at, draw_openable(rng, kind)) for at, (kind, name) in names)


def _lay_out(
    rng: np.random.Generator, size: Size, rooms: Sequence[str], task: Task, receptacles: Sequence[Receptacle]
) -> Placed:
    """Place the goal's objects and the lamp, then others up to the drawn total, each where it fits."""
    by_type: dict[str, list[int]] = {}
    for number, receptacle in enumerate(receptacles):
        by_type.setdefault(receptacle.type, []).append(number)
    total = int(rng.integers(size.objects[0], size.objects[1] + 1))
    placed: Placed = []
    for room, kind in _draw_things(rng, size, rooms, task):
        where = without(places(room, kind), task.target if kind == task.object else "")
        where = {place: often for place, often in where.items() if place in by_type}
        if where and len(placed) < total:
            placed.append((kind, int(rng.choice(by_type[draw(rng, where)]))))
    return placed


def _draw_things(
    rng: np.random.Generator, size: Size, rooms: Sequence[str], task: Task
) -> list[tuple[str, str]]:
    """(room, type) of every object that may be placed, the ones that the goal needs first."""
    copies = min(draw_number(rng, task.room, "objects", task.object), size.copies)
    things = [(task.room, task.object)] * max(copies, task.number) + [(task.room, task.target)] * task.is_look
    others: dict[tuple[str, str], int] = {}
    taken = {task.object, task.target}
    for room in rooms:
        kinds = [kind for kind in statistics()["rooms"][room]["objects"] if kind not in taken]
        others |= {(room, kind): min(draw_number(rng, room, "objects", kind), size.copies) for kind in kinds}
        taken.update(kinds)
    return things + shuffled(rng, [thing for thing, number in others.items() for _ in range(number)])
