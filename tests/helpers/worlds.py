"""The synthetic worlds of a tier and split, and what their passages say."""

from collections.abc import Iterator
from functools import lru_cache

from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.world import SPLITS, World, make_world, worlds_of

MANY = 200


def texts(world: World) -> dict[str, str]:
    """What its passages say, titles included, by id."""
    return _texts(world.tier, world.split, world.number)


@lru_cache(maxsize=512)
def _texts(tier: str, split: str, number: int) -> dict[str, str]:
    passages = make_world(tier, split, number).passages
    return {passage.id: f"{passage.title}. {passage.text}" for passage in passages}


def worlds(tier: str, split: str) -> list[World]:
    """The first ``MANY`` of them: all, but for the training worlds of small, which would take minutes."""
    return [make_world(tier, split, number) for number in worlds_of(tier, split)[:MANY]]


def both(tier: str) -> Iterator[World]:
    """The worlds of a tier."""
    return (world for split in SPLITS for world in worlds(tier, split))


def asked(tier: str, split: str) -> list[Question]:
    """Their questions, in canonical order."""
    return [question for world in worlds(tier, split) for question in world.questions]
