"""Queries of many clients, answered together: what waits while the retriever works is its next batch."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever

Answer = list[Passage]


class Overloaded(Exception):
    """More queries wait than the server takes."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A query of a request."""

    query: str
    k: int
    answer: asyncio.Future[Answer]


class Batcher:
    """Asks a retriever from one thread, never for two batches at a time.

    An idle retriever is asked at once, so a lonely client waits for nobody.

    Args:
        retriever: what is asked.
        most: queries in a batch; 1 answers one after the other.
        waiting: queries that may wait at a time.
    """

    def __init__(self, retriever: Retriever, most: int = 64, waiting: int = 4096) -> None:
        self._retriever, self._most, self._limit = retriever, most, waiting
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="retriever")
        self._work: asyncio.Task[None] | None = None

    async def search(self, queries: Sequence[str], k: int) -> list[Answer]:
        """The answers to the queries of one request.

        Raises:
            Overloaded: too many wait already.
        """
        if len(self._waiting) + len(queries) > self._limit:
            raise Overloaded(f"{len(self._waiting)} queries are waiting; ask again later")
        loop = asyncio.get_running_loop()
        asked = [_Waiting(query, k, loop.create_future()) for query in queries]
        self._waiting.extend(asked)
        if self._work is None:
            self._work = loop.create_task(self._answer_all())
        answers = await asyncio.gather(*(one.answer for one in asked), return_exceptions=True)
        for answer in answers:  # after all of them, so that no failure is left without a reader
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    def close(self) -> None:
        """Wait for the batch in work and close the retriever, in its own thread."""
        self._thread.submit(self._retriever.close).result()
        self._thread.shutdown()

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next())
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        """The longest waiting query and others that ask for as many passages."""
        k = self._waiting[0].k
        batch: list[_Waiting] = []
        while self._waiting and self._waiting[0].k == k and len(batch) < self._most:
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        queries = list(dict.fromkeys(one.query for one in batch))  # a group often asks the same
        try:
            answers = await self._ask(queries, batch[0].k)
        except Exception as error:
            if len(queries) > 1:  # one bad query must not fail those of other clients
                for one in batch:
                    await self._answer([one])
                return
            for one in batch:
                _fail(one, error)
            return
        found = dict(zip(queries, answers, strict=True))
        for one in batch:
            if not one.answer.done():  # its client may be gone
                one.answer.set_result(found[one.query])

    async def _ask(self, queries: list[str], k: int) -> list[Answer]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._retriever.search, queries, k)


def _fail(one: _Waiting, error: Exception) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)
