"""Ways between the worlds of a group that nobody walked, learned from those that were.

A command is taken to do the same wherever it may be given. What it does is read off the steps at which it was
accepted: the facts that changed, the same every time, or else nothing is learned from it. Where it may be
given is read off them as well: wherever the facts hold that held every time. So a command that was accepted
in many different worlds is known to ask for little, and one that was accepted once is not carried elsewhere.
(The effects of STRIPS operators, Fikes and Nilsson 1971, learned from examples.)

Besides, a world that has all the facts of another and more is taken to be as good: things were done that
mostly need not be undone.

Both are assumptions and can be wrong; only worlds that some attempt visited are joined. In random play of
generated houses 0.4 % of the learned ways do not exist, and a world taken to be as good is further from the
goal in half of the cases, by more than one step in one of ten. Charging that one step ranks steps worse
(`docs/credit-benchmark.md`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from stepopsd_agent.batch import Ways, group_numbers
from stepopsd_agent.tasks import World, world_number, worlds_of
from stepopsd_wrappers import Episode

Values = dict[str, str]
"""A world as the value of each thing."""
Way = tuple[World, World, int]


def inferred_ways(episodes: Sequence[Episode]) -> Ways:
    """The ways of all groups.

    Args:
        episodes: the records that a batch was collated from, in its order.
    """
    groups: dict[int, list[Episode]] = defaultdict(list)
    for episode, number in zip(episodes, group_numbers(episodes), strict=True):
        groups[number].append(episode)
    rows = [
        (number, world_number(before), world_number(after), steps)
        for number, members in groups.items()
        if any(member.success for member in members)  # without a goal no way leads anywhere
        for before, after, steps in ways_of_group(members)
    ]
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4).unbind(1)
    return Ways(*(column.contiguous() for column in columns))


def ways_of_group(episodes: Sequence[Episode]) -> Iterator[Way]:
    """The ways between the worlds of attempts at one task."""
    told = [worlds_of(episode) for episode in episodes]
    yield from ((before, after, 1) for _, before, after in _learned(episodes, told))
    worlds = dict.fromkeys(world for worlds in told for world in worlds)
    for world in worlds:
        yield from ((world, other, 0) for other in worlds if other < world)


def commands_of_group(episodes: Sequence[Episode]) -> Iterator[tuple[str, World, World]]:
    """Commands with the worlds before and after, as learned from attempts at one task."""
    return _learned(episodes, [worlds_of(episode) for episode in episodes])


def _learned(episodes: Sequence[Episode], told: Sequence[list[World]]) -> Iterator[tuple[str, World, World]]:
    worlds = {world: _values(world) for worlds in told for world in worlds}
    done: dict[str, list[tuple[Values, Values]]] = defaultdict(list)
    for episode, known in zip(episodes, told, strict=True):
        for place, step in enumerate(episode.steps[1:], start=1):
            if known[place] != known[place - 1]:
                done[step.action].append((worlds[known[place - 1]], worlds[known[place]]))
    for command, occasions in done.items():
        if effect := _effect(occasions):
            for before, after in _led(worlds, _condition(occasions), effect):
                yield command, before, after


def _values(world: World) -> Values:
    return {thing: value for thing, _, value in (fact.partition(": ") for fact in world)}


def _effect(occasions: Sequence[tuple[Values, Values]]) -> dict[str, str | None]:
    """The values that a command sets, None for a thing that is as at first again; empty if it varies."""
    effect: dict[str, str | None] = {}
    for before, after in occasions:
        for thing in before.keys() | after.keys():
            if before.get(thing) != after.get(thing):
                if effect.setdefault(thing, after.get(thing)) != after.get(thing):
                    return {}
    return effect


def _condition(occasions: Sequence[tuple[Values, Values]]) -> Values:
    """The values that were the same whenever the command was accepted."""
    first = occasions[0][0]
    return {
        thing: value
        for thing, value in first.items()
        if all(before.get(thing) == value for before, _ in occasions)
    }


def _led(
    worlds: dict[World, Values], condition: Values, effect: dict[str, str | None]
) -> Iterator[tuple[World, World]]:
    """Where one command leads between known worlds."""
    for world, values in worlds.items():
        if condition.items() <= values.items():
            changed = {**values, **effect}
            after = frozenset(f"{thing}: {value}" for thing, value in changed.items() if value is not None)
            if after != world and after in worlds:
                yield world, after
