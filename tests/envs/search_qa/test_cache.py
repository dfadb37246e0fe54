"""The query cache: what it asks for, what it keeps, and what becomes of a damaged file."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever


class Counting:
    """A retriever that notes what it is asked."""

    def __init__(self, fingerprint: str = "counting") -> None:
        self.fingerprint = fingerprint
        self.asked: list[tuple[list[str], int]] = []
        self.down = False
        self.closed = 0

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """``k`` passages that say what was asked."""
        self.asked.append((list(queries), k))
        if self.down:
            raise RetrieverError("down", transient=True)
        return [
            [Passage(f"{query} {n}", "", f"\ud800 {query}", 1.0 / (n + 1)) for n in range(k)]
            for query in queries
        ]

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def test_cache_asks_only_for_what_it_does_not_know() -> None:
    """Once for each query, all at a time; the answers are those of the retriever behind."""
    behind = Counting()
    cached = CachedRetriever(behind)
    expected = Counting().search(["a", "b", "a"], 2)
    assert cached.search(["a", "b", "a"], 2) == expected
    assert cached.search(["a", "b", "a"], 2) == expected
    assert cached.search(["b", "c"], 2) == Counting().search(["b", "c"], 2)
    assert behind.asked == [(["a", "b"], 2), (["c"], 2)]
    assert (cached.hits, cached.misses) == (4, 4)
    assert cached.fingerprint == behind.fingerprint
    assert cached.search([], 2) == [] and len(behind.asked) == 2


def test_cache_keeps_answers_of_different_length_apart() -> None:
    """The first three of ten need not be the first three."""
    behind = Counting()
    cached = CachedRetriever(behind)
    assert [len(cached.search(["a"], k)[0]) for k in (1, 3, 1)] == [1, 3, 1]
    assert [k for _, k in behind.asked] == [1, 3]


def test_cache_hands_out_lists_of_their_own() -> None:
    """Whoever changes one does not change the cache."""
    cached = CachedRetriever(Counting())
    cached.search(["a"], 2)[0].clear()
    assert len(cached.search(["a"], 2)[0]) == 2


def test_cache_forgets_what_was_not_used_for_longest() -> None:
    """A batch larger than the cache is answered all the same."""
    behind = Counting()
    cached = CachedRetriever(behind, size=2)
    for query in ("a", "b", "a", "c", "a", "b"):
        cached.search([query], 1)
    assert [queries[0] for queries, _ in behind.asked] == ["a", "b", "c", "b"]
    assert len(cached.search(list("abcdef"), 1)) == 6


def test_cache_does_not_keep_failures() -> None:
    """The next try asks again."""
    behind = Counting()
    cached = CachedRetriever(behind)
    behind.down = True
    with pytest.raises(RetrieverError, match="down"):
        cached.search(["a"], 1)
    behind.down = False
    assert cached.search(["a"], 1) == Counting().search(["a"], 1)


def test_cache_refuses_bad_settings() -> None:
    """And says what to give."""
    with pytest.raises(ValueError, match="size=0: give a positive number"):
        CachedRetriever(Counting(), size=0)
    with pytest.raises(ValueError, match="k=0: give a positive number"):
        CachedRetriever(Counting()).search(["a"], 0)


def test_cache_on_disk_serves_later_runs(tmp_path: Path) -> None:
    """Whatever the query holds; the passages come back equal, scores to the last bit."""
    path = tmp_path / "new" / "answers.sqlite"
    queries = ["a", "\ud800 \x00", "x" * 100_000]
    first = CachedRetriever(Counting(), path=path)
    expected = first.search(queries, 3)
    first.close()
    behind = Counting()
    later = CachedRetriever(behind, path=path)
    assert later.search(queries, 3) == expected
    assert behind.asked == [] and later.hits == 3
    later.close()
    assert behind.closed == 1


def test_cache_on_disk_does_not_answer_for_another_retriever(tmp_path: Path) -> None:
    """Another fingerprint, another answer; one file may hold both."""
    path = tmp_path / "answers.sqlite"
    retrievers = [Counting("one"), Counting("two")]
    both = [CachedRetriever(behind, path=path) for behind in retrievers]
    for cached in both * 2:
        cached.search(["a"], 1)
    assert [len(behind.asked) for behind in retrievers] == [1, 1]


def test_cache_on_disk_refuses_a_file_of_something_else(tmp_path: Path) -> None:
    """It is not written over."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(ValueError, match="is not a cache of answers"):
        CachedRetriever(Counting(), path=path)
    assert path.read_text().startswith("not a database")


def test_cache_on_disk_does_without_entries_that_are_damaged(tmp_path: Path) -> None:
    """And without the file, when it is lost on the way."""
    path = tmp_path / "answers.sqlite"
    first = CachedRetriever(Counting(), path=path)
    first.search(["a", "b"], 1)
    first.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answers SET passages = '[[1, 2'")
    behind = Counting()
    cached = CachedRetriever(behind, path=path)
    assert cached.search(["a"], 1) == Counting().search(["a"], 1)
    assert behind.asked == [(["a"], 1)]
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
    assert cached.search(["c"], 1) == Counting().search(["c"], 1)


def test_cache_may_be_shared_by_threads(tmp_path: Path) -> None:
    """With a file or without one, every thread gets its own answers."""
    for path in (None, tmp_path / "answers.sqlite"):
        cached = CachedRetriever(Counting(), size=7, path=path)
        wrong: list[str] = []

        def ask(names: str, cached: CachedRetriever = cached, wrong: list[str] = wrong) -> None:
            for name in names * 5:
                if cached.search([name, "shared"], 1) != Counting().search([name, "shared"], 1):
                    wrong.append(name)

        threads = [threading.Thread(target=ask, args=(names,)) for names in ("abc", "bcd", "xyz", "aza")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert cached.hits + cached.misses == 2 * 5 * 12
