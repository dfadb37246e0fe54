"""The synthetic world: a small fictional encyclopedia with questions, made on the spot.

A world is a pure function of its tier and split. Nobody and nothing in it exists, so no model can know the
answers by heart: it has to search. The worlds for training and testing share no full name, though they share
the words that names are made of. All that answers have in common is years, occupations, products and the
words yes and no. ``world_questions.py`` says what is asked and ``world_passages.py`` what is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_drawing import draw_encyclopedia
from stepopsd_envs.search_qa.world_names import SPLITS, Names
from stepopsd_envs.search_qa.world_passages import title, write
from stepopsd_envs.search_qa.world_questions import TASK_TYPES, draw_questions

__all__ = ["SPLITS", "TASK_TYPES", "TIERS", "World", "make_world"]

VERSION = 1
"""Part of seeds: raise it when a change alters any world, so that it does not pass for a slip."""


@dataclass(frozen=True)
class Size:
    """The size of a world.

    Attributes:
        counts: how many entities of each kind, which is how many passages.
        words: share of each list of words that names are made of.
        asides: at least and at most so many sentences of a passage tell nothing that is asked about.
        questions: how many, by split.
    """

    counts: Mapping[str, int]
    words: float
    asides: tuple[int, int]
    questions: Mapping[str, int]


SIZES = {
    "tiny": Size(
        counts={"country": 3, "city": 12, "person": 40, "company": 14, "work": 25},
        words=0.15,
        asides=(0, 1),
        questions={"train": 100, "test": 100},
    ),
    "small": Size(
        counts={"country": 24, "city": 150, "person": 900, "company": 300, "work": 640},
        words=0.4,
        asides=(0, 1),
        questions={"train": 8_000, "test": 1_000},
    ),
    "full": Size(
        counts={"country": 40, "city": 1_000, "person": 7_000, "company": 2_000, "work": 5_000},
        words=1.0,
        asides=(2, 5),
        questions={"train": 20_000, "test": 2_000},
    ),
}
TIERS = tuple(SIZES)


@dataclass(frozen=True)
class World:
    """Passages to search in, and questions sorted by id."""

    tier: str
    split: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]


@lru_cache(maxsize=2 * len(SIZES))
def make_world(tier: str = "small", split: str = "train") -> World:
    """The world of a tier and split, made once per process."""
    if tier not in SIZES or split not in SPLITS:
        raise ValueError(
            f"no synthetic world of tier {tier!r} and split {split!r}: give a tier of {', '.join(TIERS)} and "
            f"a split of {', '.join(SPLITS)}"
        )
    size, prefix = SIZES[tier], f"synthetic/{tier}/{split}"
    names = Names(_dice(prefix, "names"), split, size.words)
    encyclopedia = draw_encyclopedia(_dice(prefix, "facts"), names, size.counts)
    dice = _dice(prefix, "passages")
    # Numbered in random order, so that an id tells nothing.
    places = dice.shuffled(range(len(encyclopedia.entities)))
    ids = [f"{prefix}/p{place:05d}" for place in places]
    passages = [
        Passage(name, title(entity), write(encyclopedia, entity, dice, size.asides))
        for name, entity in zip(ids, encyclopedia.entities, strict=True)
    ]
    questions = draw_questions(encyclopedia, _dice(prefix, "questions"), prefix, ids, size.questions[split])
    return World(tier, split, tuple(sorted(passages, key=lambda passage: passage.id)), questions)


def _dice(prefix: str, purpose: str) -> Dice:
    return Dice(f"stepopsd world {VERSION}: {prefix} {purpose}")
