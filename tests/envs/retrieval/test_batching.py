"""Queries of many clients become batches, and nobody gets another one's answer."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.batching import Batcher, Overloaded

T = TypeVar("T")


class Gate:
    """A retriever that answers when it is let, with passages named after the query, and notes batches."""

    fingerprint = "gate"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered, self.open = threading.Event(), threading.Event()
        self.threads: set[str] = set()
        self.closed = False

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Wait for the gate."""
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(queries))
        self.entered.set()
        assert self.open.wait(30)
        if "poison" in queries:
            raise ValueError("poison")
        return [[Passage(f"{query}{n}", "", "") for n in range(k)] for query in queries]

    def close(self) -> None:
        """Note it."""
        self.closed = True
        self.threads.add(threading.current_thread().name)


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a loop of its own."""
    return asyncio.run(asyncio.wait_for(work, 30))


async def during_a_batch(gate: Gate, batcher: Batcher, *requests: tuple[list[str], int]) -> list[Any]:
    """The answers to requests that all came while the retriever was busy with another one."""
    first = asyncio.create_task(batcher.search(["first"], 1))
    await asyncio.to_thread(gate.entered.wait, 30)
    rest = [asyncio.create_task(batcher.search(queries, k)) for queries, k in requests]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


def test_batcher_joins_what_waits() -> None:
    """One batch of everything that came while the first one was in work, from one thread."""
    gate = Gate()
    batcher = Batcher(gate)
    answers = run(during_a_batch(gate, batcher, (["a", "b"], 2), (["c"], 2), ([], 2)))
    assert gate.batches == [["first"], ["a", "b", "c"]]
    assert [[[p.id for p in one] for one in answer] for answer in answers] == [
        [["a0", "a1"], ["b0", "b1"]],
        [["c0", "c1"]],
        [],
    ]
    batcher.close()
    assert gate.closed and len(gate.threads) == 1


def test_batcher_asks_once_what_several_ask() -> None:
    """A group of episodes often searches for the same; each gets its answer."""
    gate = Gate()
    answers = run(during_a_batch(gate, Batcher(gate), (["a", "a"], 1), (["a"], 1)))
    assert gate.batches[1:] == [["a"]]
    assert [len(answer) for answer in answers] == [2, 1]


def test_batcher_keeps_numbers_of_passages_apart() -> None:
    """A retriever may answer otherwise when asked for more, so nobody is answered from a longer list."""
    gate = Gate()
    answers = run(during_a_batch(gate, Batcher(gate), (["a"], 1), (["b"], 3), (["c"], 1)))
    assert gate.batches[1:] == [["a"], ["b"], ["c"]]
    assert [len(answer[0]) for answer in answers] == [1, 3, 1]


@pytest.mark.parametrize(("most", "batches"), [(1, [["a"], ["b"], ["c"]]), (2, [["a", "b"], ["c"]])])
def test_batcher_limits_its_batches(most: int, batches: list[list[str]]) -> None:
    """With 1, it answers one query after the other."""
    gate = Gate()
    run(during_a_batch(gate, Batcher(gate, most), (["a", "b", "c"], 1)))
    assert gate.batches[1:] == batches


def test_batcher_fails_only_the_query_at_fault() -> None:
    """Other clients' queries in the same batch are answered."""
    gate = Gate()
    bad, good = run(during_a_batch(gate, Batcher(gate), (["a", "poison"], 1), (["b"], 1)))
    assert isinstance(bad, ValueError) and str(bad) == "poison"
    assert good[0][0].id == "b0"


def test_batcher_refuses_more_than_may_wait() -> None:
    """It says so instead of letting everyone wait longer and longer; later it takes more."""
    gate = Gate()
    batcher = Batcher(gate, waiting=2)
    first, refused, second = run(during_a_batch(gate, batcher, (["a"], 1), (["b", "c"], 1), (["d"], 1)))
    assert isinstance(refused, Overloaded)
    assert [first[0][0].id, second[0][0].id] == ["a0", "d0"]
    assert run(batcher.search(["e"], 1))[0][0].id == "e0"


def test_batcher_goes_on_when_a_client_leaves() -> None:
    """Its queries are answered to nobody."""
    gate = Gate()
    batcher = Batcher(gate)

    async def leave() -> list[list[Passage]]:
        first = asyncio.create_task(batcher.search(["first"], 1))
        await asyncio.to_thread(gate.entered.wait, 30)
        gone = asyncio.create_task(batcher.search(["gone"], 1))
        stays = asyncio.create_task(batcher.search(["stays"], 1))
        await asyncio.sleep(0)
        gone.cancel()
        gate.open.set()
        await first
        return await stays

    assert run(leave())[0][0].id == "stays0"


def test_batcher_fails_queries_that_the_retriever_leaves_out() -> None:
    """A retriever of one's own that gives too few lists is an error at once; the next search is answered."""

    class Short(Gate):
        def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
            return [] if "lost" in queries else super().search(queries, k)

    gate = Short()
    gate.open.set()
    batcher = Batcher(gate)

    async def both() -> tuple[Any, Any]:
        asked = (batcher.search([query], 1) for query in ("lost", "a"))
        lost, found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
        return lost, found

    lost, found = run(both())
    assert isinstance(lost, ValueError) and "0 answers to 1 queries" in str(lost)
    assert found[0][0].id == "a0"
