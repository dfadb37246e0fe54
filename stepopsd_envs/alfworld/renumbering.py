"""Renumber objects, as ALFWorld does with ``domain_randomization``: "mug 1" may become "mug 3".

The numbers within one kind are permuted; the household, the task and the order in which texts list things
stay the same. A policy that has learned "the mug is in cabinet 3" cannot use this in the next episode. The
original shuffles with Python's global generator; here the numbers are a function of game and seed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from stepopsd_envs.alfworld.model import Game, Item, Receptacle

Thing = TypeVar("Thing", Receptacle, Item)

_NUMBERED = re.compile(r"(\S+) [0-9]+")


def new_names(game: Game, seed: int) -> dict[str, str]:
    """The new name of each numbered thing of a game for a seed; a name may stay the same."""
    key = f"stepopsd numbering: {game.task_id} {seed}".encode("utf-8", "surrogatepass")
    rng = np.random.default_rng(int.from_bytes(blake2b(key, digest_size=16).digest(), "little"))
    things: list[Receptacle | Item] = [*game.receptacles, *game.items]
    kinds = _by_kind([*(thing.name for thing in things), *game.location_names])
    return {
        old: kinds[kind][drawn]
        for kind in sorted(kinds)
        for old, drawn in zip(kinds[kind], rng.permutation(len(kinds[kind])), strict=True)
    }


def renamed(game: Game, names: Mapping[str, str]) -> Game:
    """The game with new names; things that are not in ``names`` keep their names."""
    if not names:
        return game
    return replace(
        game,
        receptacles=tuple(_renamed_thing(receptacle, names) for receptacle in game.receptacles),
        items=tuple(_renamed_thing(item, names) for item in game.items),
        location_names=tuple(names.get(name, name) for name in game.location_names),
        walkthrough=tuple(_in_command(command, names) for command in game.walkthrough),
    )


def _renamed_thing(thing: Thing, names: Mapping[str, str]) -> Thing:
    return replace(thing, name=names.get(thing.name, thing.name))


def _by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        match = _NUMBERED.fullmatch(name)
        if match:
            kinds.setdefault(match[1], []).append(name)
    return kinds


def _in_command(command: str, names: Mapping[str, str]) -> str:
    return _NUMBERED.sub(lambda match: names.get(match[0], match[0]), command)
