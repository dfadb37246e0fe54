"""Commands that win a generated game."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations

from stepopsd_envs.alfworld.model import Item, Receptacle
from stepopsd_envs.alfworld.tasks import TOOLS, Task

Errand = tuple[int, bool, str]  # index of the receptacle, whether it must be open, command there


def walkthrough(
    task: Task, receptacles: Sequence[Receptacle], items: Sequence[Item], short: bool = False
) -> tuple[str, ...]:
    """Commands that win: fetch each object, treat it if required, bring it to the target.

    Args:
        task: the task.
        receptacles: receptacles of the house.
        items: items of the house.
        short: take the choice of objects, targets and lamps with the fewest commands; else the first of each.
    """
    plans = (tuple(_commands(errands, receptacles)) for errands in _bindings(task, receptacles, items))
    return min(plans, key=len) if short else next(plans)


def _bindings(task: Task, receptacles: Sequence[Receptacle], items: Sequence[Item]) -> Iterator[list[Errand]]:
    """The errands that win, for every choice of objects, targets and lamps."""
    first: dict[tuple[str, bool], int] = {}  # per type, the first that must be opened, and the first open one
    for number, receptacle in enumerate(receptacles):
        first.setdefault((receptacle.type, receptacle.openable), number)
    objects, lamps = (
        [item for item in items if item.type == kind and item.receptacles]
        for kind in (task.object, task.target)
    )
    tool = TOOLS[task.type].receptacle if task.type in TOOLS else ""
    targets, tools = (
        [number for (kind, _), number in first.items() if kind == type_] for type_ in (task.target, tool)
    )
    for chosen in permutations(objects, task.number):
        if task.is_look:
            for lamp in lamps:
                switch_on = (lamp.receptacles[0], False, f"use {lamp.name}")
                yield [_fetch(item, receptacles) for item in chosen] + [switch_on]
            continue
        for target in targets:
            yield [errand for item in chosen for errand in _bring(task, item, target, tools, receptacles)]


def _fetch(item: Item, receptacles: Sequence[Receptacle]) -> Errand:
    at = item.receptacles[0]
    return at, True, f"take {item.name} from {receptacles[at].name}"


def _bring(
    task: Task, item: Item, target: int, tools: Sequence[int], receptacles: Sequence[Receptacle]
) -> Iterator[Errand]:
    yield _fetch(item, receptacles)
    for tool in tools[:1]:
        yield tool, False, f"{TOOLS[task.type].verb} {item.name} with {receptacles[tool].name}"
    yield target, True, f"move {item.name} to {receptacles[target].name}"


def _commands(errands: Iterable[Errand], receptacles: Sequence[Receptacle]) -> Iterator[str]:
    here, opened = -1, set[int]()
    for at, must_be_open, command in errands:
        if receptacles[at].location != here:
            yield f"go to {receptacles[at].name}"
        here = receptacles[at].location
        if must_be_open and receptacles[at].openable and at not in opened:
            opened.add(at)
            yield f"open {receptacles[at].name}"
        yield command
