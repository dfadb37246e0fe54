"""A retriever behind HTTP: this project's server, Search-R1's, or another with the same wire format.

Failures that may be temporary (no connection, no answer in time, a server error) are retried with growing
pauses until a deadline. A refusal and a malformed answer are final.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from stepopsd_envs.bearer import bearer_secret
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError, require_k
from stepopsd_envs.search_qa.retrieval.connections import Answer, Connections, NoAnswer, Request
from stepopsd_envs.search_qa.retrieval.wire import (
    FINGERPRINT_HEADER,
    TOKEN_VARIABLE,
    read_answer,
    write_request,
)

T = TypeVar("T")
PER_REQUEST = 256  # queries in a request; more are sent in several requests
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
LATER = frozenset({408, 425, 429})  # status codes that mean "try again later"


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits of a search, in seconds.

    Attributes:
        attempt_s: limit of one request and its answer.
        search_s: limit of all attempts and the pauses between them.

    Raises:
        ValueError: not 0 < attempt_s <= search_s.
    """

    attempt_s: float = 10.0
    search_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.attempt_s <= self.search_s:
            raise ValueError(f"{self}: give times above 0, with search_s not below attempt_s")


class HttpRetriever:
    """Sends queries to a server.

    Args:
        url: address such as ``http://127.0.0.1:8000``; a path in it is put before ``/retrieve``.
        token: bearer token; None takes ``$STEPOPSD_RETRIEVER_TOKEN``, if set.
        patience: time limits.
        alive: called after a failure; if it returns False, there is no further attempt.

    Raises:
        ValueError: ``url`` is not the address of a server, or no header can hold the token.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        patience: Patience | None = None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        if "@" in urlsplit(url).netloc:
            raise ValueError(f"the address contains a user; remove it and set {TOKEN_VARIABLE} to a token")
        self.url = url.rstrip("/").removesuffix("/retrieve")
        self._connections = Connections(self.url)
        token = bearer_secret(TOKEN_VARIABLE, token)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience, self._alive = patience or Patience(), alive
        self._fingerprint = ""
        self._open = True

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without connections and token: a copy takes the token from its environment."""
        return HttpRetriever, (self.url, None, self._patience)

    @property
    def fingerprint(self) -> str:
        """The fingerprint that the server reported at the first call; else "unknown" and its address.

        Raises:
            RetrieverError: the server does not answer and never did.
        """
        if not self._fingerprint:
            self._fingerprint = self._reported_fingerprint() or f"unknown, at {self.url}"
        return self._fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Search on the server; only the first 2,048 characters of a query are used.

        Raises:
            RetrieverError: there is no answer in time, the server refuses, or it serves another index now.
        """
        require_k(k)
        if not queries:
            return []
        _ = self.fingerprint  # asked for now, so that records can name it even if the server dies later
        results: list[list[Passage]] = []
        for start in range(0, len(queries), PER_REQUEST):
            batch = queries[start : start + PER_REQUEST]
            results += self._passages(write_request(batch, k), len(batch), k)
        return results

    def close(self) -> None:
        """Close the connections."""
        self._open = False
        self._connections.close()

    def _reported_fingerprint(self) -> str:
        def read(answer: Answer) -> str:
            if _is_temporary(answer.status):  # of a starting server, or of a proxy before it
                raise NoAnswer(_status_of(answer))
            if answer.status != 200:
                return ""  # a server without this endpoint
            try:
                health = json.loads(answer.body)
            except ValueError:
                return ""
            reported = health.get("fingerprint") if isinstance(health, dict) else None
            return reported if isinstance(reported, str) else ""

        return self._retry("GET", "/health", None, read)

    def _passages(self, body: bytes, queries: int, k: int) -> list[list[Passage]]:
        def read(answer: Answer) -> list[list[Passage]]:
            _require_good(answer)
            self._require_same(answer.headers.get(FINGERPRINT_HEADER))
            try:
                return read_answer(answer.body, queries, k)
            except ValueError as error:
                raise RetrieverError(
                    f"the answer of {self.url}/retrieve is malformed: {error}. Give the address of a server "
                    "with the wire format of Search-R1's retriever, such as stepopsd serve-retriever",
                    transient=False,
                ) from error

        return self._retry("POST", "/retrieve", body, read)

    def _retry(self, method: str, path: str, body: bytes | None, read: Callable[[Answer], T]) -> T:
        """Try until there is an answer or the deadline; ``read`` raises ``NoAnswer`` for a bad answer."""
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
                        f"{failure}. Check that a retriever server is running there: see {self.url}/health",
                        transient=True,
                    ) from failure
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _require_same(self, fingerprint: str | None) -> None:
        """Raise if another retriever now serves at the address: results of two must not be mixed."""
        if fingerprint and fingerprint != self.fingerprint:
            raise RetrieverError(
                f"the retriever at {self.url} has changed from {self.fingerprint} to {fingerprint}: another "
                "corpus or other settings; serve the first one again, or close the environments that search "
                "there and make new ones",
                transient=False,
            )


def _require_good(answer: Answer) -> None:
    """Raise for a status other than 200: ``NoAnswer`` if a retry may help, else ``RetrieverError``."""
    if answer.status == 200:
        return
    reason = _status_of(answer)
    if _is_temporary(answer.status):
        raise NoAnswer(reason)
    hint = f"; set {TOKEN_VARIABLE} to the server's token" if answer.status in (401, 403) else ""
    raise RetrieverError(f"the retriever refuses the request: {reason}{hint}", transient=False)


def _is_temporary(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status >= 500 or status in LATER


def _status_of(answer: Answer) -> str:
    return f"status {answer.status}, {answer.body[:200].decode('utf-8', 'replace')!r}"
