"""Small corpora as files, and servers that misbehave as they are told to."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stepopsd_envs.search_qa.retrieval.base import Passage

SHELF = (
    Passage("p1", "Red Fox", "The red fox lives in forests and eats mice."),
    Passage("p2", "Blue Whale", "The blue whale is the largest animal of the sea."),
    Passage("p3", "Brown Bear", "The brown bear sleeps in winter and eats salmon."),
    Passage("p4", "Salmon", "Salmon swim from the sea up the rivers."),
)


def rows(passages: Sequence[Passage] = SHELF) -> list[dict[str, str]]:
    """Passages as lines of a corpus have them."""
    return [{"id": p.id, "title": p.title, "text": p.text} for p in passages]


def write_corpus(path: Path, lines: Sequence[Any] | None = None) -> Path:
    """A corpus file, plain."""
    path.write_text("".join(json.dumps(line) + "\n" for line in (lines or rows())), encoding="utf-8")
    return path


def many(count: int) -> list[dict[str, str]]:
    """Passages with words of their own and some that they share."""
    return [
        {"id": f"n{k}", "title": f"Thing {k}", "text": f"number{k} is like number{k + 1} and group{k % 7}"}
        for k in range(count)
    ]


Behaviour = Callable[[socket.socket, bytes], None]
"""What a server does with a connection and the request that came over it."""


def http_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """The bytes of an answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def says(body: Any, status: str = "200 OK", headers: str = "") -> Behaviour:
    """Answer with JSON, or with bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda connection, request: connection.sendall(http_answer(data, status, headers))


def finds(*ids: str, headers: str = "") -> Behaviour:
    """Answer each query with these passages."""

    def behave(connection: socket.socket, request: bytes) -> None:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])["queries"]
        one = [{"document": {"id": name, "contents": f'"T"\n{name}'}, "score": 1.5} for name in ids]
        says({"result": [one for _ in asked]}, headers=headers)(connection, request)

    return behave


def hangs_up(connection: socket.socket, request: bytes) -> None:
    """Close the connection without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def waits(seconds: float, then: Behaviour) -> Behaviour:
    """Answer late."""

    def behave(connection: socket.socket, request: bytes) -> None:
        time.sleep(seconds)
        then(connection, request)

    return behave


def drips(seconds: float) -> Behaviour:
    """Begin an answer at once and send a byte of it now and then."""

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            time.sleep(seconds)
            connection.sendall(b" ")

    return behave


class ScriptedServer:
    """Behaves differently at each search; the last behaviour stays.

    Args:
        script: one behaviour after the other.
        health: the behaviour for questions after its health, which are not counted.
        port: where to listen; 0 takes a free one.

    Attributes:
        requests: the searches that came, in order.
        connections: how many there were.
    """

    def __init__(self, script: Sequence[Behaviour], health: Behaviour, port: int = 0) -> None:
        self._script, self._health = list(script), health
        self._lock = threading.Lock()
        self.requests: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := _read_request(connection):
                self._behaviour(request)(connection, request)

    def _behaviour(self, request: bytes) -> Behaviour:
        if b"/health HTTP" in request[:200]:
            return self._health
        with self._lock:
            self.requests.append(request)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]


def _read_request(connection: socket.socket) -> bytes:
    """A whole request; nothing when the client is gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    while length and len(body) < int(length[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def scripted(*script: Behaviour, health: Behaviour | None = None, port: int = 0) -> Iterator[ScriptedServer]:
    """A server on a free port of this machine, which has no page on its health unless one is given."""
    server = ScriptedServer(script, health or says({"detail": "Not Found"}, "404 Not Found"), port)
    try:
        yield server
    finally:
        server.stop()
