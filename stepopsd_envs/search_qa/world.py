"""Synthetic worlds: small fictional encyclopedias with questions, generated when needed.

A world is a pure function of its tier, split and number. All its people and things are fictional, so a model
cannot have memorised the answers: it must search. The worlds of a tier and split reuse names for different
entities with different facts, so a fact learned in one world does not help in the next. Worlds for training
and testing share no full names, only the words in names. Their answers share only years, occupations,
products, yes and no. ``world_questions.py`` draws the questions, ``world_passages.py`` writes the passages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_drawing import draw_encyclopedia
from stepopsd_envs.search_qa.world_names import SPLITS, Names
from stepopsd_envs.search_qa.world_passages import title, write
from stepopsd_envs.search_qa.world_questions import CYCLE, TASK_TYPES, draw_questions, question_id

__all__ = ["SPLITS", "TASK_TYPES", "TIERS", "World", "make_world", "question_types"]

VERSION = 2
"""Part of seeds and fingerprints; increase it when a change alters any world."""


@dataclass(frozen=True)
class Size:
    """The size of a tier.

    Attributes:
        worlds: number of worlds, by split.
        counts: number of entities of each kind in a world; each entity has one passage.
        words: share of each list of words from which the tier makes names.
        own: share of these words from which a single world makes names.
        asides: least and greatest number of sentences in a passage that no question is about.
        questions: number per world, by split; an even number of ``CYCLE``s, so that yes and no are balanced.
    """

    worlds: Mapping[str, int]
    counts: Mapping[str, int]
    words: float
    own: float
    asides: tuple[int, int]
    questions: Mapping[str, int]


SIZES = {
    "tiny": Size(
        worlds={"train": 5, "test": 5},
        counts={"country": 3, "city": 12, "person": 40, "company": 14, "work": 25},
        words=0.15,
        own=1.0,
        asides=(0, 1),
        questions={"train": 20, "test": 20},
    ),
    "small": Size(
        worlds={"train": 2000, "test": 25},
        counts={"country": 3, "city": 12, "person": 40, "company": 14, "work": 25},
        words=0.3,
        own=0.4,
        asides=(0, 1),
        questions={"train": 40, "test": 40},
    ),
    "full": Size(
        worlds={"train": 1, "test": 1},
        counts={"country": 40, "city": 1_000, "person": 7_000, "company": 2_000, "work": 5_000},
        words=1.0,
        own=1.0,
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
    number: int
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Passage]:
        """The passages by their ids."""
        return {passage.id: passage for passage in self.passages}


def worlds_of(tier: str, split: str) -> range:
    """The numbers of the worlds of a tier and split.

    Raises:
        ValueError: the tier or split is unknown.
    """
    if tier not in SIZES or split not in SPLITS:
        raise ValueError(
            f"no synthetic world of tier {tier!r} and split {split!r}: give a tier of {', '.join(TIERS)} and "
            f"a split of {', '.join(SPLITS)}"
        )
    return range(SIZES[tier].worlds[split])


def question_types(tier: str, split: str) -> Mapping[str, str]:
    """The ids of all questions of a tier and split, sorted, with task types; no world is generated."""
    return {
        question_id(world_prefix(tier, split, world), number): CYCLE[number % len(CYCLE)]
        for world in worlds_of(tier, split)
        for number in range(SIZES[tier].questions[split])
    }


def world_of(name: str) -> int:
    """The number of the world of a question or passage, from its id."""
    return int(name.split("/")[3])


@lru_cache(maxsize=2048)  # room for all worlds of tier small, since each episode may need another one
def make_world(tier: str = "small", split: str = "train", number: int = 0) -> World:
    """Generate a world; it is kept for the process.

    Raises:
        ValueError: there is no such world.
    """
    if number not in worlds_of(tier, split):
        count = len(worlds_of(tier, split))
        raise ValueError(
            f"no world {number} of tier {tier!r} and split {split!r}: give a number from 0 to {count - 1}"
        )
    size, prefix = SIZES[tier], world_prefix(tier, split, number)
    names = Names(_dice(prefix, "names"), split, size.words, size.own)
    encyclopedia = draw_encyclopedia(_dice(prefix, "facts"), names, size.counts)
    dice = _dice(prefix, "passages")
    # Numbered in random order, so that an id reveals nothing about its entity.
    places = dice.shuffled(range(len(encyclopedia.entities)))
    ids = [f"{prefix}/p{place:05d}" for place in places]
    passages = [
        Passage(name, title(entity), write(encyclopedia, entity, dice, size.asides))
        for name, entity in zip(ids, encyclopedia.entities, strict=True)
    ]
    questions = draw_questions(encyclopedia, _dice(prefix, "questions"), prefix, ids, size.questions[split])
    return World(tier, split, number, tuple(sorted(passages, key=lambda passage: passage.id)), questions)


def world_prefix(tier: str, split: str, number: int) -> str:
    """The prefix of all ids in a world."""
    return f"synthetic/{tier}/{split}/{number:03d}"


def _dice(prefix: str, purpose: str) -> Dice:
    return Dice(f"stepopsd world {VERSION}: {prefix} {purpose}")
