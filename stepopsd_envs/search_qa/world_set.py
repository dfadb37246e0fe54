"""The synthetic worlds of a tier and split together: their questions, and what searches one of them.

Worlds use the same names for other people, so for each question only the passages of its own world are
searched. A world is made when the first of its questions is asked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from stepopsd_envs.manifest import fingerprint
from stepopsd_envs.search_qa.questions import Question, select_ids
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever
from stepopsd_envs.search_qa.world import VERSION, World, make_world, question_types, world_of, worlds_of

DEEPER = 10  # times as many passages are asked for where too few of those found are of the world
MOST = 1_000  # passages a server gives at once


@dataclass(frozen=True)
class WorldQuestions:
    """Questions about the worlds of a tier and split, in canonical order.

    Attributes:
        tier: of the worlds.
        split: of the worlds.
        types: the task types of the questions by their ids.
    """

    tier: str
    split: str
    types: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.types)

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(self.types)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids and of the generator's version, which decide the contents."""
        return fingerprint((name, f"world {VERSION}") for name in self.types)

    def find(self, name: str) -> Question | None:
        """The question of that id."""
        return _asked(self.tier, self.split, world_of(name))[name] if name in self.types else None

    def select(self, task_types: Collection[str] | None, count: int | None) -> "WorldQuestions":
        """The first ``count`` questions of these types; None stands for all."""
        ids = select_ids(self.types, task_types, count)
        return WorldQuestions(self.tier, self.split, {name: self.types[name] for name in ids})


class IndexedWorlds:
    """BM25 over each world, made when it is first needed, with a query cache.

    Args:
        tier: of the worlds.
        split: of the worlds.
    """

    def __init__(self, tier: str, split: str) -> None:
        self._tier, self._split = tier, split
        self._opened: dict[int, CachedRetriever] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the generator's version, and of the first world with all that decides a ranking in it."""
        first = world_index(self._tier, self._split, 0)
        return fingerprint([("worlds", str(VERSION)), ("first", first.fingerprint)])

    def of(self, question: str) -> Retriever:
        """The retriever over the world that a question is about."""
        number = world_of(question)
        if number not in self._opened:
            self._opened[number] = CachedRetriever(world_index(self._tier, self._split, number))
        return self._opened[number]

    def close(self) -> None:
        """Forget the answers; the indexes are kept, as runs open and close environments all the time."""
        self._opened.clear()


class FilteredWorlds:
    """One retriever over all worlds, of whose answers only the passages of one world count.

    Args:
        retriever: over the passages of all worlds of the tier and split; this then owns it.
        tier: of the worlds.
        split: of the worlds.
    """

    def __init__(self, retriever: Retriever, tier: str, split: str) -> None:
        self._retriever, self._tier, self._split = retriever, tier, split

    @property
    def fingerprint(self) -> str:
        """That of the retriever."""
        return self._retriever.fingerprint

    def of(self, question: str) -> Retriever:
        """The retriever, as far as it finds passages of the world that a question is about."""
        return OneWorld(self._retriever, make_world(self._tier, self._split, world_of(question)))

    def close(self) -> None:
        """Close the retriever."""
        self._retriever.close()


class OneWorld:
    """The passages of one world out of what a retriever over all of them finds, in its order.

    Args:
        retriever: over several worlds; it stays the caller's to close.
        world: one of them.
    """

    def __init__(self, retriever: Retriever, world: World) -> None:
        self._retriever, self._world = retriever, world

    @property
    def fingerprint(self) -> str:
        """That of the retriever behind."""
        return self._retriever.fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Ask for more and more until enough are of this world, or there are no more."""
        asked = k
        while True:
            found = self._retriever.search(queries, asked)
            own = [[passage for passage in one if passage.id in self._world.by_id] for one in found]
            enough = all(len(o) >= k or len(f) < asked for o, f in zip(own, found, strict=True))
            if enough or asked >= MOST:
                return [one[:k] for one in own]
            asked = min(DEEPER * asked, MOST)

    def close(self) -> None:
        """The retriever behind stays open."""


def all_questions(tier: str, split: str) -> WorldQuestions:
    """The questions about all worlds of a tier and split."""
    return WorldQuestions(tier, split, question_types(tier, split))


def all_passages(tier: str, split: str) -> list[Passage]:
    """The passages of all worlds of a tier and split."""
    return [p for number in worlds_of(tier, split) for p in make_world(tier, split, number).passages]


@lru_cache(maxsize=2048)
def _asked(tier: str, split: str, number: int) -> dict[str, Question]:
    return {question.id: question for question in make_world(tier, split, number).questions}


@lru_cache(maxsize=2048)
def world_index(tier: str, split: str, number: int) -> Bm25:
    """BM25 over a world, made once per process."""
    return Bm25(make_world(tier, split, number).passages)
