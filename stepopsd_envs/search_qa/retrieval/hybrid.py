"""Fusion of several retrievers: reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)."""

from collections.abc import Sequence

from stepopsd_envs import manifest
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever, require_k


def fuse(
    rankings: Sequence[Sequence[Passage]],
    k: int,
    constant: float = 60.0,
    weights: Sequence[float] | None = None,
) -> list[Passage]:
    """The ``k`` passages with the highest sum of weight / (constant + rank), with ranks from 1.

    Passages with the same id are the same. Of equal sums, the passage in an earlier ranking, or higher in the
    same ranking, comes first.

    Args:
        rankings: results of the retrievers for one query, each best first.
        k: number of passages.
        constant: the constant in the formula.
        weights: weight of each ranking; None: 1 for all.
    """
    sums: dict[str, float] = {}
    passages: dict[str, Passage] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, passage in enumerate(ranking, start=1):
            sums[passage.id] = sums.get(passage.id, 0.0) + weight / (constant + rank)
            passages.setdefault(passage.id, passage)
    best = sorted(sums, key=sums.__getitem__, reverse=True)[:k]  # a stable sort
    return [Passage(name, passages[name].title, passages[name].text, sums[name]) for name in best]


class Hybrid:
    """Searches with several retrievers and fuses their rankings; only ranks matter, not scores.

    Args:
        retrievers: the parts; ``close`` closes them.
        depth: number of passages requested from each part; ``k`` if that is greater.
        constant: the greater, the smaller the advantage of the first ranks.
        weights: weight of each part; None: 1 for all.

    Raises:
        ValueError: there are no retrievers, or a number is out of range.
    """

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        depth: int = 100,
        constant: float = 60.0,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not retrievers:
            raise ValueError("no retrievers to fuse: give at least one")
        require_k(depth)
        if not constant >= 0:
            raise ValueError(f"constant={constant!r}: give a number of 0 or more")
        self._retrievers, self._depth, self._constant = tuple(retrievers), depth, constant
        self._weights = tuple(weights or [1.0] * len(self._retrievers))
        if len(self._weights) != len(self._retrievers) or not min(self._weights) > 0:
            raise ValueError(
                f"weights={weights!r} for {len(self._retrievers)} retrievers: give each a number above 0"
            )

    @property
    def fingerprint(self) -> str:
        """Hash of the fingerprints of the parts, in their order, and of the settings."""
        settings = [("depth", str(self._depth)), ("constant", repr(float(self._constant)))]
        settings += [("weight", repr(float(weight))) for weight in self._weights]
        return manifest.fingerprint(settings + [("part", part.fingerprint) for part in self._retrievers])

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages of each query by fused rank."""
        require_k(k)
        answers = [part.search(queries, max(k, self._depth)) for part in self._retrievers]
        return [fuse(rankings, k, self._constant, self._weights) for rankings in zip(*answers, strict=True)]

    def close(self) -> None:
        """Close all parts, even if one fails; then raise the first failure."""
        failures = []
        for part in self._retrievers:
            try:
                part.close()
            except Exception as error:  # raised below, after all parts
                failures.append(error)
        if failures:
            raise failures[0]
