"""All synthetic worlds of a tier and split: their questions, and the retrievers over one world each.

Worlds use the same names for different entities, so only the passages of the question's world are searched. A
world is generated when it is first needed.
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

DEEPER = 10  # factor by which to request more passages if too few of the results are of the world
MOST = 1_000  # greatest number of passages that a server returns per query


@dataclass(frozen=True)
class WorldQuestions:
    """Questions about the worlds of a tier and split, in canonical order.

    Attributes:
        tier: tier of the worlds.
        split: split of the worlds.
        types: task type of each question, by id.
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
        """Hash of the ids and of the generator's version, which determine the contents."""
        return fingerprint((name, f"world {VERSION}") for name in self.types)

    def find(self, name: str) -> Question | None:
        """The question with this id; None if there is none."""
        return _asked(self.tier, self.split, world_of(name))[name] if name in self.types else None

    def select(self, task_types: Collection[str] | None, count: int | None) -> "WorldQuestions":
        """The first ``count`` questions of these types; None: no restriction."""
        ids = select_ids(self.types, task_types, count)
        return WorldQuestions(self.tier, self.split, {name: self.types[name] for name in ids})


class IndexedWorlds:
    """A BM25 index per world, built when it is first needed, with a query cache.

    Args:
        tier: tier of the worlds.
        split: split of the worlds.
    """

    def __init__(self, tier: str, split: str) -> None:
        self._tier, self._split = tier, split
        self._opened: dict[int, CachedRetriever] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the generator's version and of the first world's index, ranking settings included."""
        first = world_index(self._tier, self._split, 0)
        return fingerprint([("worlds", str(VERSION)), ("first", first.fingerprint)])

    def of(self, question: str) -> Retriever:
        """The retriever over the world of a question."""
        number = world_of(question)
        if number not in self._opened:
            self._opened[number] = CachedRetriever(world_index(self._tier, self._split, number))
        return self._opened[number]

    def close(self) -> None:
        """Clear the query caches; the indexes are kept, since runs open and close environments often."""
        self._opened.clear()


class FilteredWorlds:
    """One retriever over all worlds, whose results are filtered by the world of the question.

    Args:
        retriever: retriever over the passages of all worlds of the tier and split; ``close`` closes it.
        tier: tier of the worlds.
        split: split of the worlds.
    """

    def __init__(self, retriever: Retriever, tier: str, split: str) -> None:
        self._retriever, self._tier, self._split = retriever, tier, split
        self._worlds: dict[int, OneWorld] = {}

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the retriever."""
        return self._retriever.fingerprint

    def of(self, question: str) -> Retriever:
        """The retriever, filtered by the world of a question."""
        number = world_of(question)
        if number not in self._worlds:
            self._worlds[number] = OneWorld(self._retriever, make_world(self._tier, self._split, number))
        return self._worlds[number]

    def close(self) -> None:
        """Close the retriever."""
        self._retriever.close()


class OneWorld:
    """A retriever over several worlds that keeps only the passages of one world, in the order of the results.

    Args:
        retriever: retriever over several worlds; ``close`` leaves it open.
        world: the world to keep.
    """

    def __init__(self, retriever: Retriever, world: World) -> None:
        self.retriever, self.world = retriever, world

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the underlying retriever."""
        return self.retriever.fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The first ``k`` results of this world for each query, see `search_worlds`."""
        return search_worlds(self.retriever, [(self.world, query) for query in queries], k)

    def close(self) -> None:
        """Do nothing: the underlying retriever stays open."""


def search_worlds(retriever: Retriever, searches: Sequence[tuple[World, str]], k: int) -> list[list[Passage]]:
    """Request more and more passages until ``k`` are of the world of each search, or there are no more.

    What is still missing is asked in one call, whatever its worlds.
    """
    found, asked = dict[int, list[Passage]](), k
    while len(found) < len(searches):
        missing = [number for number in range(len(searches)) if number not in found]
        queries = list(dict.fromkeys(searches[number][1] for number in missing))
        results = dict(zip(queries, retriever.search(queries, asked), strict=True))
        for number in missing:
            world, query = searches[number]
            inside = [passage for passage in results[query] if passage.id in world.by_id]
            if len(inside) >= k or len(results[query]) < asked or asked >= MOST:
                found[number] = inside[:k]
        asked = min(DEEPER * asked, MOST)
    return [found[number] for number in range(len(searches))]


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
    """The BM25 index over a world, built once per process."""
    return Bm25(make_world(tier, split, number).passages)
