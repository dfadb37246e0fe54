"""The interface of a retriever: queries in, ranked passages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a corpus.

    Attributes:
        id: unique within its corpus.
        title: title of its article; may be empty.
        text: the text without the title.
        score: relevance to the query, higher is better; comparable only within one result. 0.0 for a passage
            that does not come from a search.
    """

    id: str
    title: str
    text: str
    score: float = 0.0


class RetrieverError(RuntimeError):
    """The retriever could not answer, after all its retries.

    Attributes:
        transient: whether a later attempt may succeed (the server is down or slow); if not, the request or
            the set-up is wrong.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


@runtime_checkable  # so that an argument that is none is refused
class Retriever(Protocol):
    """Finds passages. As long as ``fingerprint`` stays the same, equal queries give equal results."""

    @property
    def fingerprint(self) -> str:
        """Hash of the corpus and of every setting that changes a ranking."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """For each query at most ``k`` passages, best first; fewer or none if fewer match.

        Raises:
            RetrieverError: there is no answer. The batch fails as a whole.
            ValueError: ``k`` is not a positive integer.
        """
        ...

    def close(self) -> None:
        """Release resources such as processes and connections; further calls do nothing."""


def require_k(k: int) -> None:
    """Raise ValueError if ``k`` is not a positive integer."""
    if type(k) is not int or k < 1:
        raise ValueError(f"k={k!r}: give a positive number of passages")
