"""What a retriever is: queries in, ranked passages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that can be found.

    Attributes:
        id: unique within its corpus.
        title: of the article that it is from; may be empty.
        text: without the title.
        score: how well it fits the query, higher being better; comparable only within one answer. A passage
            that was not searched for has 0.0.
    """

    id: str
    title: str
    text: str
    score: float = 0.0


class RetrieverError(RuntimeError):
    """The retriever could not answer, after all the retries it makes.

    Attributes:
        transient: asking again later may help (a server that is down or slow); otherwise the request or the
            set-up is at fault.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class Retriever(Protocol):
    """Finds passages. Equal queries get equal answers for as long as ``fingerprint`` stays the same."""

    @property
    def fingerprint(self) -> str:
        """Hash of what is searched and how: the corpus and every setting that changes a ranking."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """For each query at most ``k`` passages, best first; fewer, or none, where too few fit.

        Raises:
            RetrieverError: there is no answer. A batch fails as a whole.
        """
        ...

    def close(self) -> None:
        """Give back what is held, such as a process or a connection; calling it again does nothing."""


def require_k(k: int) -> None:
    """Raise if ``k`` is no number of passages."""
    if type(k) is not int or k < 1:
        raise ValueError(f"k={k!r}: give a positive number of passages")
