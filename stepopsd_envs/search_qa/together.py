"""Searches of several episodes in one call of the retriever, which may be far away or work in batches."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.world_set import OneWorld, search_worlds

MOST = 64  # queries in a call: as many as a server takes as one batch, so that none waits for another batch

Search = tuple[Retriever, str, int]
"""The retriever, the query, and the number of passages."""


def search_together(searches: Sequence[Search]) -> list[list[Passage] | None]:
    """The results of searches, each query asked once of each retriever.

    Searches of different worlds (`OneWorld`) are one call of the retriever behind them.

    Returns:
        For each search its passages; None if it has to be made alone: it is the only one, or the call failed,
        perhaps because of another query. Alone it raises what the retriever raises.
    """
    passages: dict[tuple[int, str, int], list[Passage]] = {}
    for asked, k in _calls(searches):
        with suppress(Exception):  # a retriever of one's own may raise anything, or give too few lists
            passages |= {
                (id(retriever), query, k): answer
                for (retriever, query), answer in zip(asked, _ask(asked, k), strict=True)
            }
    return [passages.get((id(retriever), query, k)) for retriever, query, k in searches]


def _ask(asked: Sequence[tuple[Retriever, str]], k: int) -> list[list[Passage]]:
    """One call of the retriever that all these searches go to."""
    worlds = [(retriever, query) for retriever, query in asked if isinstance(retriever, OneWorld)]
    if worlds:
        return search_worlds(worlds[0][0].retriever, [(one.world, query) for one, query in worlds], k)
    return asked[0][0].search([query for _, query in asked], k)


def _calls(searches: Sequence[Search]) -> Iterator[tuple[list[tuple[Retriever, str]], int]]:
    """The calls that answer searches of which a retriever has several: what is asked, each once."""
    together: dict[tuple[int, bool, int], list[tuple[Retriever, str]]] = {}
    for retriever, query, k in searches:
        world = isinstance(retriever, OneWorld)
        behind = retriever.retriever if isinstance(retriever, OneWorld) else retriever
        together.setdefault((id(behind), world, k), []).append((retriever, query))
    for (_, _, k), asked in together.items():
        if len(asked) > 1:
            different = list(
                {(id(retriever), query): (retriever, query) for retriever, query in asked}.values()
            )
            yield from ((different[start : start + MOST], k) for start in range(0, len(different), MOST))
