"""New games without downloads: households drawn from statistics of the official ones (``houses.json``).

A game is a pure function of ``(tier, split, index)``. The splits draw from different random streams, so
their houses differ. First a goal is drawn, out of those the official games ask for; then the receptacles
that it needs and others of the same room (in tier ``small``: of two rooms) until the house has its size;
then the objects of the goal and others, each where such things lie in official houses. No goal object
starts in a receptacle of the target type, so no game is won at its start; everything the goal needs is
there, so every game can be won, and its walkthrough says how.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from stepopsd_envs.alfworld.game import TASK_TYPES, Game, Goal, Item, Receptacle
from stepopsd_envs.alfworld.houses import (
    can_contain,
    draw,
    draw_number,
    draw_openable,
    places,
    shuffled,
    statistics,
    without,
)
from stepopsd_envs.alfworld.tasks import GOAL_TEXTS, TOOLS

GENERATOR_VERSION = 1  # part of seeds and fingerprints: raise it when a change alters generated games
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Tier:
    """The size of a house.

    Attributes:
        rooms: how many kinds of rooms its receptacles and objects are drawn from.
        receptacles: least and most receptacles.
        alike: most receptacles of one type.
        objects: least and most objects.
        copies: most objects of one type.
    """

    rooms: int
    receptacles: tuple[int, int]
    alike: int
    objects: tuple[int, int]
    copies: int


TIERS = {
    "tiny": Tier(rooms=1, receptacles=(4, 6), alike=2, objects=(5, 9), copies=2),
    "small": Tier(rooms=2, receptacles=(9, 14), alike=3, objects=(12, 25), copies=2),
    "full": Tier(rooms=1, receptacles=(99, 99), alike=99, objects=(99, 99), copies=99),  # all that is drawn
}


class Task(NamedTuple):
    """What is asked for, before there is a house. ``target`` is a receptacle type, or the lamp's type."""

    type: str
    room: str
    object: str
    target: str

    @property
    def number(self) -> int:
        """How many objects it takes."""
        return 2 if self.type == "pick_two_obj_and_place" else 1

    @property
    def is_look(self) -> bool:
        """Whether the object has to be held in the light of a lamp."""
        return self.type == "look_at_obj_in_light"


def generate_game(tier: str, split: str, index: int) -> Game:
    """Make game ``index`` of a tier and split; task types take turns, so any run of indices is balanced."""
    if tier not in TIERS or split not in SPLITS or index < 0:
        raise ValueError(
            f"no generated game of tier {tier!r}, split {split!r}, index {index}: give a tier of "
            f"{', '.join(TIERS)}, a split of {', '.join(SPLITS)}, and an index from 0 up"
        )
    rng, size = _rng(tier, split, index), TIERS[tier]
    task = draw(rng, _tasks(TASK_TYPES[index % len(TASK_TYPES)]))
    others = [room for room in statistics()["rooms"] if room != task.room]
    rooms = [task.room, *shuffled(rng, others)][: size.rooms]
    receptacles = _draw_receptacles(rng, size, rooms, _draw_needed(rng, task))
    items = _draw_items(rng, size, rooms, task, receptacles)
    wording = GOAL_TEXTS[task.type][int(rng.integers(2))]
    kinds = {receptacle.type for receptacle in receptacles}
    return Game(
        task_id=f"generated/{tier}/{split}/{index}",
        task_type=task.type,
        goal=wording.format(object=task.object.lower(), target=task.target.lower()),
        receptacles=receptacles,
        items=items,
        can_contain=frozenset((kind, thing) for kind in kinds for thing in can_contain(kind)),
        location_names=tuple(f"loc {number}" for number in range(len(receptacles) + 1)),
        start_location=len(receptacles),  # the middle of the room, where nothing stands
        win=_win(task),
        walkthrough=_walkthrough(task, receptacles, items),
    )


def _rng(tier: str, split: str, index: int) -> np.random.Generator:
    key = f"stepopsd generator {GENERATOR_VERSION}: {tier} {split} {index}"
    return np.random.default_rng(int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "little"))


def _win(task: Task) -> Goal:
    if task.is_look:
        return Goal(task.object, lamp_type=task.target)
    states = (TOOLS[task.type].state,) if task.type in TOOLS else ()
    return Goal(task.object, task.target, task.number, states)


@lru_cache(maxsize=len(TASK_TYPES))
def _tasks(task_type: str) -> dict[Task, int]:
    """What official games of a type ask for, with how often, as far as the statistics allow to set it up."""
    asked = statistics()["goals"][task_type]
    tasks = {
        Task(task_type, room, thing, target): often
        for room, things in asked.items()
        for thing, targets in things.items()
        for target, often in targets.items()
    }
    return {task: often for task, often in tasks.items() if _can_be_set_up(task)}


def _can_be_set_up(task: Task) -> bool:
    somewhere = bool(without(places(task.room, task.object), task.target))
    fits = bool(places(task.room, task.target)) if task.is_look else task.object in can_contain(task.target)
    return somewhere and fits


def _draw_needed(rng: np.random.Generator, task: Task) -> list[str]:
    """Receptacle types: where the object lies, where it has to go (where the lamp stands), and the tool."""
    home = draw(rng, without(places(task.room, task.object), task.target))
    target = draw(rng, places(task.room, task.target)) if task.is_look else task.target
    return [home, target, TOOLS[task.type].receptacle] if task.type in TOOLS else [home, target]


def _draw_receptacles(
    rng: np.random.Generator, size: Tier, rooms: Sequence[str], needed: Sequence[str]
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
    names = enumerate(_named(chosen.elements()))
    return tuple(Receptacle(name, kind, at, draw_openable(rng, kind)) for at, (kind, name) in names)


def _named(kinds: Iterable[str]) -> list[tuple[str, str]]:
    """(type, name) in the order in which texts list things: by type, with falling numbers."""
    counts = Counter(kinds)
    order = sorted(counts, key=str.lower)
    return [(kind, f"{kind.lower()} {number}") for kind in order for number in range(counts[kind], 0, -1)]


def _draw_items(
    rng: np.random.Generator, size: Tier, rooms: Sequence[str], task: Task, receptacles: Sequence[Receptacle]
) -> tuple[Item, ...]:
    """The goal's objects and the lamp, then others until there are enough; each where it fits."""
    by_type: dict[str, list[int]] = {}
    for number, receptacle in enumerate(receptacles):
        by_type.setdefault(receptacle.type, []).append(number)
    total = int(rng.integers(size.objects[0], size.objects[1] + 1))
    placed: list[tuple[str, int]] = []
    for room, kind in _draw_things(rng, size, rooms, task):
        where = without(places(room, kind), task.target if kind == task.object else "")
        where = {place: often for place, often in where.items() if place in by_type}
        if where and len(placed) < total:
            placed.append((kind, int(rng.choice(by_type[draw(rng, where)]))))
    return _items(placed)


def _draw_things(
    rng: np.random.Generator, size: Tier, rooms: Sequence[str], task: Task
) -> list[tuple[str, str]]:
    """(room, type) of every object that may lie around, what the goal needs first."""
    copies = min(draw_number(rng, task.room, "objects", task.object), size.copies)
    things = [(task.room, task.object)] * max(copies, task.number) + [(task.room, task.target)] * task.is_look
    others: dict[tuple[str, str], int] = {}
    taken = {task.object, task.target}
    for room in rooms:
        kinds = [kind for kind in statistics()["rooms"][room]["objects"] if kind not in taken]
        others |= {(room, kind): min(draw_number(rng, room, "objects", kind), size.copies) for kind in kinds}
        taken.update(kinds)
    return things + shuffled(rng, [thing for thing, number in others.items() for _ in range(number)])


def _items(placed: Sequence[tuple[str, int]]) -> tuple[Item, ...]:
    abilities = statistics()["abilities"]
    where: dict[str, list[int]] = {}
    for kind, at in placed:
        where.setdefault(kind, []).append(at)
    items = []
    for kind, name in _named(kind for kind, _ in placed):
        at, can = where[kind].pop(), abilities[kind]
        items.append(
            Item(
                name,
                kind,
                receptacles=(at,),
                locations=(at,),  # receptacle i stands at location i
                pickupable="pickupable" in can,
                cleanable="cleanable" in can,
                heatable="heatable" in can,
                coolable="coolable" in can,
                sliceable="sliceable" in can,
                toggleable="toggleable" in can,
                vessel="vessel" in can,
            )
        )
    return tuple(items)


def _walkthrough(task: Task, receptacles: Sequence[Receptacle], items: Sequence[Item]) -> tuple[str, ...]:
    """Commands that win: for each object fetch it, treat it if asked, bring it to the target."""
    first = {receptacle.type: number for number, receptacle in reversed(list(enumerate(receptacles)))}
    errands: list[tuple[int, bool, str]] = []  # (receptacle, whether it must be open, command there)
    for item in [item for item in items if item.type == task.object][: task.number]:
        at = item.receptacles[0]
        errands.append((at, True, f"take {item.name} from {receptacles[at].name}"))
        if task.type in TOOLS:
            verb, tool = TOOLS[task.type].verb, first[TOOLS[task.type].receptacle]
            errands.append((tool, False, f"{verb} {item.name} with {receptacles[tool].name}"))
        if not task.is_look:
            goal = first[task.target]
            errands.append((goal, True, f"move {item.name} to {receptacles[goal].name}"))
    for lamp in [item for item in items if task.is_look and item.type == task.target][:1]:
        errands.append((lamp.receptacles[0], False, f"use {lamp.name}"))
    return tuple(_commands(errands, receptacles))


def _commands(errands: Iterable[tuple[int, bool, str]], receptacles: Sequence[Receptacle]) -> Iterable[str]:
    here, opened = -1, set[int]()
    for at, must_be_open, command in errands:
        if at != here:
            yield f"go to {receptacles[at].name}"
        here = at
        if must_be_open and receptacles[at].openable and at not in opened:
            opened.add(at)
            yield f"open {receptacles[at].name}"
        yield command
