"""Requests to one server over persistent connections (``http.client``), shared by threads."""

import http.client
import os
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_ANSWER_BYTES = 1 << 26
READ_BYTES = 1 << 16


class NoAnswer(Exception):
    """The server did not answer in time, or its answer cannot be used."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Connections:
    """The connections to one server.

    Args:
        url: ``http://`` or ``https://``, host, port, and a prefix of all paths.

    Raises:
        ValueError: ``url`` is not such an address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not the address of a server; give one like http://127.0.0.1:8000")
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._idle: list[http.client.HTTPConnection] = []
        self._process = os.getpid()

    def ask(self, request: Request, until: float) -> Answer:
        """Send a request and return the answer, with any status.

        Args:
            request: it may arrive twice, so it must not have side effects.
            until: time at which to give up, by ``time.monotonic``.

        Raises:
            NoAnswer: there is no answer; the message says why.
        """
        if os.getpid() != self._process:  # a fork: the sockets belong to the parent
            self._idle, self._process = [], os.getpid()
        while True:
            used = bool(self._idle)
            connection = self._idle.pop() if used else self._make(self._host, self._port)
            try:
                answer = self._exchange(connection, request, until)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if used and not isinstance(error, TimeoutError):
                    continue  # servers close idle connections: try a new one
                raise NoAnswer(_reason(error)) from error
            except BaseException:
                connection.close()  # its state is unknown
                raise
            if connection.sock is not None:
                self._idle.append(connection)
            return answer

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, connection: http.client.HTTPConnection, request: Request, until: float) -> Answer:
        if connection.sock is None:
            connection.timeout = _left(until)
            connection.connect()
            _wire(connection).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = _wire(connection)
        wire.settimeout(_left(until))
        connection.request(request.method, self._path + request.path, request.body, dict(request.headers))
        with connection.getresponse() as response:
            body = _read(response, wire, until)
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, body)


def _wire(connection: http.client.HTTPConnection) -> socket.socket:
    wire: socket.socket | None = connection.sock
    assert wire is not None  # it is connected
    return wire


def _read(response: http.client.HTTPResponse, wire: socket.socket, until: float) -> bytes:
    """Read the body, within the limits of time and size."""
    chunks, size = [], 0
    while True:
        wire.settimeout(_left(until))  # for each read: a server that sends single bytes must not take forever
        chunk = response.read1(READ_BYTES)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"".join(chunks), response.length)
    return b"".join(chunks)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the server closed the connection before its answer was complete"
    if isinstance(error, http.client.BadStatusLine):
        return f"the answer is not HTTP: {error!s:.60}"
    return f"{type(error).__name__}: {error}"
