"""Batch queries of many clients: those that arrive while the retriever works form the next batch."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever

Answer = list[Passage]


class Overloaded(Exception):
    """More queries are waiting than the server allows."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A query in the queue, with the future of its answer."""

    query: str
    k: int
    answer: asyncio.Future[Answer]


class Batcher:
    """Calls a retriever from one thread, one batch at a time.

    If the retriever is idle, a query starts at once: a single client never waits.

    Args:
        retriever: the retriever.
        most: greatest number of queries in a batch; 1: one query at a time.
        waiting: greatest number of queries in the queue.
    """

    def __init__(self, retriever: Retriever, most: int = 64, waiting: int = 4096) -> None:
        self._retriever, self._most, self._limit = retriever, most, waiting
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="retriever")
        self._work: asyncio.Task[None] | None = None

    async def search(self, queries: Sequence[str], k: int) -> list[Answer]:
        """The answers to the queries of one request.

        Raises:
            Overloaded: too many queries are waiting.
        """
        if len(self._waiting) + len(queries) > self._limit:
            raise Overloaded(f"{len(self._waiting)} queries are waiting; ask again later")
        loop = asyncio.get_running_loop()
        asked = [_Waiting(query, k, loop.create_future()) for query in queries]
        self._waiting.extend(asked)
        if self._work is None:
            self._work = loop.create_task(self._answer_all())
        answers = await asyncio.gather(*(waiting.answer for waiting in asked), return_exceptions=True)
        for answer in answers:  # after all of them, so that every exception is retrieved
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    def close(self) -> None:
        """Wait for the current batch, then close the retriever in its thread."""
        self._thread.submit(self._retriever.close).result()
        self._thread.shutdown()

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next())
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        """The next batch: the oldest query, and those after it with the same ``k``."""
        k = self._waiting[0].k
        batch: list[_Waiting] = []
        while self._waiting and self._waiting[0].k == k and len(batch) < self._most:
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        queries = list(dict.fromkeys(item.query for item in batch))  # a group often sends equal queries
        try:
            answers = await self._ask(queries, batch[0].k)
            if len(answers) != len(queries):
                raise ValueError(f"the retriever gave {len(answers)} answers to {len(queries)} queries")
        except Exception as error:
            if len(queries) > 1:  # one bad query must not fail those of other clients
                for item in batch:
                    await self._answer([item])
                return
            for item in batch:
                _fail(item, error)
            return
        answer_of = dict(zip(queries, answers, strict=True))
        for item in batch:
            if not item.answer.done():  # its client may have disconnected
                item.answer.set_result(answer_of[item.query])

    async def _ask(self, queries: list[str], k: int) -> list[Answer]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._retriever.search, queries, k)


def _fail(item: _Waiting, error: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
