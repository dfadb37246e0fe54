"""Searches of several episodes in one call of the retriever, which may be far away or work in batches."""

from collections.abc import Iterator, Sequence

from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever, RetrieverError

MOST = 64  # queries in a call: as many as a server takes as one batch, so that none waits for another batch

Search = tuple[Retriever, str, int]
"""The retriever, the query, and the number of passages."""


def search_together(searches: Sequence[Search]) -> list[list[Passage] | None]:
    """The results of searches, each query asked once of each retriever.

    Returns:
        For each search its passages; None if it has to be made alone: it is the only one, or the call failed,
        perhaps because of another query.
    """
    passages: dict[tuple[int, str, int], list[Passage]] = {}
    for retriever, queries, k in _calls(searches):
        try:
            answers = retriever.search(queries, k)
        except RetrieverError:
            continue
        passages |= {
            (id(retriever), query, k): answer for query, answer in zip(queries, answers, strict=True)
        }
    return [passages.get((id(retriever), query, k)) for retriever, query, k in searches]


def _calls(searches: Sequence[Search]) -> Iterator[tuple[Retriever, list[str], int]]:
    """The calls that answer searches of which a retriever has several."""
    asked: dict[tuple[int, int], tuple[Retriever, list[str]]] = {}
    for retriever, query, k in searches:
        asked.setdefault((id(retriever), k), (retriever, []))[1].append(query)
    for (_, k), (retriever, queries) in asked.items():
        if len(queries) > 1:
            different = list(dict.fromkeys(queries))
            yield from (
                (retriever, different[start : start + MOST], k) for start in range(0, len(different), MOST)
            )
