"""The synthetic worlds: small fictional encyclopedias with questions, made on the spot.

A world is a pure function of its tier, split and number. Nobody and nothing in it exists, so no model can
know the answers by heart: it has to search. The worlds of a tier and split use names again, each time for
somebody else of whom other things are true: what was learned of one says nothing about the next. Worlds for
training and worlds for testing share no full name, though they share the words that names are made of. All
that their answers have in common is years, occupations, products and the words yes and no.
``world_questions.py`` says what is asked and ``world_passages.py`` what is written.
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
"""Part of seeds and fingerprints: raise it when a change alters any world."""


@dataclass(frozen=True)
class Size:
    """The size of a tier.

    Attributes:
        worlds: how many there are, by split.
        counts: how many entities of each kind a world has, which is how many passages.
        words: share of each list of words that names of the tier are made of.
        own: share of those that names of a single world are made of.
        asides: at least and at most so many sentences of a passage tell nothing that is asked about.
        questions: how many about each world, by split; whole cycles of task types, twice for yes and no.
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
    """The numbers of the worlds of a tier and split."""
    if tier not in SIZES or split not in SPLITS:
        raise ValueError(
            f"no synthetic world of tier {tier!r} and split {split!r}: give a tier of {', '.join(TIERS)} and "
            f"a split of {', '.join(SPLITS)}"
        )
    return range(SIZES[tier].worlds[split])


def question_types(tier: str, split: str) -> Mapping[str, str]:
    """The ids of all questions of a tier and split, sorted, each with its task type: no world is made."""
    return {
        question_id(world_prefix(tier, split, world), number): CYCLE[number % len(CYCLE)]
        for world in worlds_of(tier, split)
        for number in range(SIZES[tier].questions[split])
    }


def world_of(name: str) -> int:
    """The number of the world that a question or passage is from, by its id."""
    return int(name.split("/")[3])


@lru_cache(maxsize=2048)  # all small ones: episodes jump from one to the other
def make_world(tier: str = "small", split: str = "train", number: int = 0) -> World:
    """A world, made once per process."""
    if number not in worlds_of(tier, split):
        count = len(worlds_of(tier, split))
        raise ValueError(
            f"no world {number} of tier {tier!r} and split {split!r}: there are 0 to {count - 1}"
        )
    size, prefix = SIZES[tier], world_prefix(tier, split, number)
    names = Names(_dice(prefix, "names"), split, size.words, size.own)
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
    return World(tier, split, number, tuple(sorted(passages, key=lambda passage: passage.id)), questions)


def world_prefix(tier: str, split: str, number: int) -> str:
    """What the ids of everything in a world begin with."""
    return f"synthetic/{tier}/{split}/{number:03d}"


def _dice(prefix: str, purpose: str) -> Dice:
    return Dice(f"stepopsd world {VERSION}: {prefix} {purpose}")
