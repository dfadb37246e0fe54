"""Transitions between worlds of a group that no attempt took, inferred from those that were taken.

A command is modelled as a STRIPS operator (Fikes and Nilsson 1971) learned from examples: the steps of the
group at which the command changed the world. Its effect is the facts that changed; if they differ between
examples, nothing is inferred from the command. Its precondition is the facts that held in every example. So
a command seen in many different worlds applies widely, and one seen once applies where all facts of that
one world hold.

Besides, a world that has all the facts of another and more counts as at least as good, by a transition of
length 0: the further facts are things that were done, and most need not be undone.

Both are assumptions and can be wrong; only worlds that some attempt visited are joined. In random play of
generated houses 0.4 % of the inferred transitions of length 1 do not exist. A world that counts as at least
as good is further from the goal in half of the cases, and by more than one step in one of ten. Length 1 in
place of 0 ranks steps worse (`docs/credit-benchmark.md`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

import torch

from stepopsd_agent.batch import Transitions, group_numbers
from stepopsd_agent.tasks import World, world_number, worlds_of
from stepopsd_wrappers import Episode

Values = dict[str, str]
"""A world as the value of each thing, with the colon before it; "" for a fact that is no "thing: value"."""
Taken = tuple[World, str, World]
"""A step that changed the world: the world before, the command, and the world after."""
Transition = tuple[World, World, int]
"""The world before, the world after, and the length in steps."""


def inferred_transitions(episodes: Sequence[Episode]) -> Transitions:
    """The inferred transitions of all groups that have a success; the others have none.

    Args:
        episodes: the records that a batch was collated from, in its order.
    """
    groups: dict[int, list[Episode]] = defaultdict(list)
    for episode, number in zip(episodes, group_numbers(episodes), strict=True):
        groups[number].append(episode)
    rows = [
        (number, world_number(before), world_number(after), steps)
        for number, members in groups.items()
        if any(member.success for member in members)  # without a goal no path leads to one
        for before, after, steps in transitions_of_group(members)
    ]
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4).unbind(1)
    return Transitions(*(column.contiguous() for column in columns))


def transitions_of_group(episodes: Sequence[Episode]) -> Iterator[Transition]:
    """The transitions between the worlds of attempts at one task, those that were taken among them."""
    taken, worlds = _taken(episodes)
    return inferred(taken, worlds)


def commands_of_group(episodes: Sequence[Episode]) -> Iterator[tuple[str, World, World]]:
    """Commands, each with the world before and after: inferred from attempts at one task, or taken."""
    return _learned(*_taken(episodes))


def inferred(taken: Iterable[Taken], worlds: Iterable[World]) -> Iterator[Transition]:
    """The transitions between worlds that steps tell, those steps among them.

    Args:
        taken: the steps that changed the world.
        worlds: that were visited.
    """
    visited = dict.fromkeys(worlds)
    yield from ((before, after, 1) for _, before, after in _learned(taken, visited))
    yield from ((better, world, 0) for better, world in no_worse(visited))


def no_worse(worlds: Collection[World]) -> Iterator[tuple[World, World]]:
    """Pairs of different worlds of which the first has all the facts of the second."""
    return ((better, world) for better in worlds for world in worlds if world < better)


def _taken(episodes: Sequence[Episode]) -> tuple[list[Taken], dict[World, None]]:
    """The steps of attempts at one task that changed the world, and the worlds that they visited."""
    visited = [worlds_of(episode) for episode in episodes]
    taken = [
        (path[index - 1], step.action, path[index])
        for episode, path in zip(episodes, visited, strict=True)
        for index, step in enumerate(episode.steps)
        if index > 0 and path[index] != path[index - 1]
    ]
    return taken, dict.fromkeys(world for path in visited for world in path)


def _learned(taken: Iterable[Taken], visited: Iterable[World]) -> Iterator[tuple[str, World, World]]:
    worlds = {world: _values(world) for world in visited}
    examples: dict[str, list[tuple[Values, Values]]] = defaultdict(list)
    for before, command, after in taken:
        examples[command].append((worlds[before], worlds[after]))
    for command, pairs in examples.items():
        if effect := _effect(pairs):
            for before, after in _applied(worlds, _precondition(pairs), effect):
                yield command, before, after


def _values(world: World) -> Values:
    """The last colon divides a fact: in "search 'Alien: Covenant': made" the query is part of the thing."""
    parts = (fact.rpartition(": ") for fact in world)
    return {thing if colon else value: colon + value if colon else "" for thing, colon, value in parts}


def _effect(examples: Sequence[tuple[Values, Values]]) -> dict[str, str | None]:
    """The values that a command sets, None for a thing back at its initial value; empty if it varies."""
    effect: dict[str, str | None] = {}
    for before, after in examples:
        for thing in before.keys() | after.keys():
            if before.get(thing) != after.get(thing):
                if effect.setdefault(thing, after.get(thing)) != after.get(thing):
                    return {}
    return effect


def _precondition(examples: Sequence[tuple[Values, Values]]) -> Values:
    """The values that were the same before every example."""
    first = examples[0][0]
    return {
        thing: value
        for thing, value in first.items()
        if all(before.get(thing) == value for before, _ in examples)
    }


def _applied(
    worlds: dict[World, Values], precondition: Values, effect: dict[str, str | None]
) -> Iterator[tuple[World, World]]:
    """The pairs of visited worlds that one command leads between."""
    for world, values in worlds.items():
        if precondition.items() <= values.items():
            changed = {**values, **effect}
            after = frozenset(f"{thing}{value}" for thing, value in changed.items() if value is not None)
            if after != world and after in worlds:
                yield world, after
