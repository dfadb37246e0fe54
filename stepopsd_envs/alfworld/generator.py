"""Generate games without downloads: households drawn from statistics of the official ones (``houses.json``).

A game is a pure function of ``(tier, split, index)``. The splits use different random streams, so their
houses differ. First a goal of the official games is drawn, then a house in which it can be reached:
``small_houses.py`` for the tiers ``tiny`` and ``small``, ``full_houses.py`` for ``full``. No game is won at
its start, the house has everything that the goal needs, and the walkthrough wins.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from stepopsd_envs.alfworld.full_houses import draw_full_house
from stepopsd_envs.alfworld.game import TASK_TYPES, Game, Goal, Item, Receptacle
from stepopsd_envs.alfworld.houses import Placed, can_contain, draw, full_statistics, named, statistics
from stepopsd_envs.alfworld.small_houses import Size, draw_small_house
from stepopsd_envs.alfworld.tasks import GOAL_TEXTS, TOOLS, Task
from stepopsd_envs.alfworld.walkthroughs import walkthrough

SPLITS = ("train", "test")
TIERS = ("tiny", "small", "full")
SIZES = {
    "tiny": Size(rooms=1, receptacles=(4, 6), alike=2, objects=(5, 9), copies=2),
    "small": Size(rooms=2, receptacles=(9, 14), alike=3, objects=(12, 25), copies=2),
}
VERSIONS = {"tiny": 1, "small": 1, "full": 2}
"""Part of seeds and fingerprints; increase a tier's number when a change alters its games."""
CYCLE = 100  # period of the order of task types in tier full


def generate_game(tier: str, split: str, index: int) -> Game:
    """Generate game ``index`` of a tier and split.

    Raises:
        ValueError: the tier or split is unknown, or the index is negative.
    """
    if tier not in TIERS or split not in SPLITS or index < 0:
        raise ValueError(
            f"no generated game of tier {tier!r}, split {split!r}, index {index}: give a tier of "
            f"{', '.join(TIERS)}, a split of {', '.join(SPLITS)}, and an index from 0 up"
        )
    rng = _rng(tier, split, index)
    task = draw(rng, _tasks(tier, task_type_at(tier, index)))
    if tier in SIZES:
        receptacles, placed = draw_small_house(rng, task, SIZES[tier])
    else:
        receptacles, placed = draw_full_house(rng, task)
    items = _items(placed, receptacles)
    wording = GOAL_TEXTS[task.type][int(rng.integers(2))]
    places = 1 + max(receptacle.location for receptacle in receptacles)
    return Game(
        task_id=f"generated/{tier}/{split}/{index}",
        task_type=task.type,
        goal=wording.format(object=task.object.lower(), target=task.target.lower()),
        receptacles=receptacles,
        items=items,
        can_contain=_can_contain(tier, receptacles, items),
        location_names=tuple(f"loc {number}" for number in range(places + 1)),
        start_location=places,  # the middle of the room, a place without receptacles
        win=_win(task),
        walkthrough=walkthrough(task, receptacles, items, short=tier == "full"),
    )


def task_type_at(tier: str, index: int) -> str:
    """The task type of a game: all in turn; in tier ``full`` with the frequencies of the official games."""
    order = _official_order() if tier == "full" else TASK_TYPES
    return order[index % len(order)]


@lru_cache(maxsize=1)
def _official_order() -> tuple[str, ...]:
    """A cycle of task types with the official frequencies, each type spread evenly."""
    goals = statistics()["goals"]
    often = {
        kind: sum(sum(targets.values()) for things in goals[kind].values() for targets in things.values())
        for kind in TASK_TYPES
    }
    total = sum(often.values())
    order: list[str] = []
    for length in range(1, CYCLE + 1):
        # The type that lags most behind its share; integers, so that the result is the same on every machine.
        order.append(max(TASK_TYPES, key=lambda kind: often[kind] * length - order.count(kind) * total))
    return tuple(order)


def _rng(tier: str, split: str, index: int) -> np.random.Generator:
    key = f"stepopsd generator {VERSIONS[tier]}: {tier} {split} {index}"
    return np.random.default_rng(int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "little"))


def _win(task: Task) -> Goal:
    if task.is_look:
        return Goal(task.object, lamp_type=task.target)
    states = (TOOLS[task.type].state,) if task.type in TOOLS else ()
    return Goal(task.object, task.target, task.number, states)


@lru_cache(maxsize=len(TIERS) * len(TASK_TYPES))
def _tasks(tier: str, task_type: str) -> dict[Task, int]:
    """The tasks of a type in the official games with their counts, if the statistics allow to set them up."""
    asked = statistics()["goals"][task_type]
    tasks = {
        Task(task_type, room, thing, target): often
        for room, things in asked.items()
        for thing, targets in things.items()
        for target, often in targets.items()
    }
    return {task: often for task, often in tasks.items() if _can_be_set_up(task, tier)}


def _can_be_set_up(task: Task, tier: str) -> bool:
    room = full_statistics(task.room) if tier == "full" else statistics()["rooms"][task.room]
    lies_in = room["places"]
    somewhere = bool(set(lies_in.get(task.object, ())) - {task.target})
    fits = bool(lies_in.get(task.target)) if task.is_look else task.object in can_contain(task.target)
    return somewhere and fits


def _can_contain(
    tier: str, receptacles: Sequence[Receptacle], items: Sequence[Item]
) -> frozenset[tuple[str, str]]:
    """Pairs (receptacle type, object type) that fit; tier ``full`` lists only objects that the house has."""
    kinds, things = {receptacle.type for receptacle in receptacles}, {item.type for item in items}
    pairs = ((kind, thing) for kind in kinds for thing in can_contain(kind))
    return frozenset(pair for pair in pairs if tier != "full" or pair[1] in things)


def _items(placed: Placed, receptacles: Sequence[Receptacle]) -> tuple[Item, ...]:
    abilities = statistics()["abilities"]
    where: dict[str, list[int | None]] = {}
    for kind, at in placed:
        where.setdefault(kind, []).append(at)
    items = []
    for kind, name in named(kind for kind, _ in placed):
        at, can = where[kind].pop(), abilities[kind]
        items.append(
            Item(
                name,
                kind,
                receptacles=() if at is None else (at,),
                locations=() if at is None else (receptacles[at].location,),
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
