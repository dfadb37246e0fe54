"""A retriever behind HTTP: this project's server, Search-R1's, or any with the same wire format.

What may be better in a moment (no connection, no answer in time, an error of the server, an answer that is
none) is tried again, with growing pauses, until a deadline.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError, require_k
from stepopsd_envs.search_qa.retrieval.connections import Answer, Connections, NoAnswer, Request
from stepopsd_envs.search_qa.retrieval.wire import (
    FINGERPRINT_HEADER,
    TOKEN_VARIABLE,
    read_answer,
    write_request,
)

T = TypeVar("T")
PER_REQUEST = 256  # queries; more are sent as several requests
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
LATER = frozenset({408, 425, 429})  # refusals that mean "not now"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a search may take.

    Attributes:
        attempt_s: one request and its answer.
        search_s: all attempts and the pauses between them.
    """

    attempt_s: float = 10.0
    search_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.attempt_s <= self.search_s:
            raise ValueError(f"{self}: give times above 0, search_s being the longer one")


class HttpRetriever:
    """Asks a server.

    Args:
        url: such as ``http://127.0.0.1:8000``; a path in it goes before ``/retrieve``.
        token: sent as a bearer token; None takes ``$STEPOPSD_RETRIEVER_TOKEN``, if set.
        patience: how long to try.
        alive: asked after a failure; once it is False there is no further attempt.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        patience: Patience | None = None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        if "@" in urlsplit(url).netloc:
            raise ValueError(f"the address names a user; leave that out and set {TOKEN_VARIABLE} to a token")
        self.url = url.rstrip("/").removesuffix("/retrieve")
        self._connections = Connections(self.url)
        token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience, self._alive = patience or Patience(), alive
        self._fingerprint = ""
        self._open = True

    def __reduce__(self) -> tuple[object, ...]:
        """A copy makes connections of its own, and takes the token from its environment."""
        return HttpRetriever, (self.url, None, self._patience)

    @property
    def fingerprint(self) -> str:
        """What the server says it searches, asked once; for a server that does not say, its address.

        Raises:
            RetrieverError: the server never answered so far.
        """
        if not self._fingerprint:
            self._fingerprint = self._asked_fingerprint() or f"unknown, at {self.url}"
        return self._fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Ask for passages. Only the first 2,048 characters of a query count."""
        require_k(k)
        if not queries:
            return []
        _ = self.fingerprint  # known from the beginning, so that a record can name it when the server is gone
        found: list[list[Passage]] = []
        for start in range(0, len(queries), PER_REQUEST):
            some = queries[start : start + PER_REQUEST]
            found += self._passages(write_request(some, k), len(some), k)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._open = False
        self._connections.close()

    def _asked_fingerprint(self) -> str:
        def read(answer: Answer) -> str:
            if answer.status != 200:
                return ""  # a server without such a page
            try:
                health = json.loads(answer.body)
            except ValueError:
                return ""
            said = health.get("fingerprint") if isinstance(health, dict) else None
            return said if isinstance(said, str) else ""

        return self._tried("GET", "/health", None, read)

    def _passages(self, body: bytes, queries: int, k: int) -> list[list[Passage]]:
        def read(answer: Answer) -> list[list[Passage]]:
            _require_good(answer)
            self._require_same(answer.headers.get(FINGERPRINT_HEADER))
            try:
                return read_answer(answer.body, queries, k)
            except ValueError as error:
                raise NoAnswer(str(error)) from error

        return self._tried("POST", "/retrieve", body, read)

    def _tried(self, method: str, path: str, body: bytes | None, read: Callable[[Answer], T]) -> T:
        """Attempt until there is an answer or no time; ``read`` raises ``NoAnswer`` for a bad answer."""
        if not self._open:
            raise RetrieverError(f"the connection to {self.url} is closed; open it again", transient=False)
        request = Request(method, path, body, self._headers)
        deadline = time.monotonic() + self._patience.search_s
        pause, attempts = FIRST_PAUSE_S, 0
        while True:
            attempts += 1
            until = min(deadline, time.monotonic() + self._patience.attempt_s)
            try:
                return read(self._connections.ask(request, until))
            except NoAnswer as failure:
                if time.monotonic() + pause >= deadline or not self._alive():
                    raise RetrieverError(
                        f"no answer from the retriever at {self.url} in {attempts} attempts, the last one: "
                        f"{failure}. Is it running, and is it one? See {self.url}/health",
                        transient=True,
                    ) from failure
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _require_same(self, fingerprint: str | None) -> None:
        """Raise if another retriever now listens at the address: its answers must not mix in."""
        if fingerprint and fingerprint != self.fingerprint:
            raise RetrieverError(
                f"the retriever at {self.url} has changed from {self.fingerprint} to {fingerprint}: another "
                "corpus or other settings; serve the first one again, or begin anew",
                transient=False,
            )


def _require_good(answer: Answer) -> None:
    """Raise for a status that is not a success."""
    if answer.status == 200:
        return
    said = f"status {answer.status}, {answer.body[:200].decode('utf-8', 'replace')!r}"
    if answer.status >= 500 or answer.status in LATER:
        raise NoAnswer(said)
    hint = f"; set {TOKEN_VARIABLE} to the server's token" if answer.status in (401, 403) else ""
    raise RetrieverError(f"the retriever refuses the request: {said}{hint}", transient=False)
