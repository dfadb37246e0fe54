"""A small server with OpenAI's interface, over real HTTP, which can be told to fail."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], int], "str | tuple[int, str] | bytes"]
"""From the request and its number to a message, to a status and what the server says, or to a whole body."""


class ChatServer:
    """Answers with a function; notes what it was asked.

    Attributes:
        url: of the interface.
        requests: bodies of the chat completions.
        headers: headers of all requests.
        most: largest number of requests that waited for their answer at once.
        answer: can be replaced.
        told: what is answered to requests without a body, by path; to others it lists its models.
        model_details: what it says of every model that it lists.
    """

    def __init__(self, answer: Answer, models: tuple[str, ...] = ("tiny",)) -> None:
        self.answer, self.models = answer, models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.told: dict[str, Any] = {}
        self.model_details: dict[str, Any] = {}
        self.most, self._now, self._lock = 0, 0, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self) -> None:
        """Close the socket, too: further requests are refused."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def chat_server(answer: Answer, models: tuple[str, ...] = ("tiny",)) -> Iterator[ChatServer]:
    """A server as long as the `with` lasts."""
    server = ChatServer(answer, models)
    try:
        yield server
    finally:
        server.close()


def slowly(seconds: float, answer: Answer) -> Answer:
    """The same after some seconds."""

    def late(body: dict[str, Any], number: int) -> "str | tuple[int, str] | bytes":
        time.sleep(seconds)
        return answer(body, number)

    return late


def handler_of(outer: ChatServer) -> type[BaseHTTPRequestHandler]:
    """What answers each request, and notes it in the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            outer.headers.append(dict(self.headers))
            listed = {"data": [{"id": name, **outer.model_details} for name in outer.models]}
            self._send(200, outer.told.get(self.path, listed))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with outer._lock:
                number = len(outer.requests)
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                outer._now += 1
                outer.most = max(outer.most, outer._now)
            try:
                said = outer.answer(body, number)
            finally:
                with outer._lock:  # before the client can read the reply and ask again
                    outer._now -= 1
            self._reply(said)

        def _reply(self, said: "str | tuple[int, str] | bytes") -> None:
            if isinstance(said, bytes):
                self._send(200, said)
                return
            if isinstance(said, tuple):
                self._send(said[0], {"error": said[1]})
                return
            message = {"role": "assistant", "content": said}
            usage = {"prompt_tokens": 7, "completion_tokens": len(said.split())}
            self._send(200, {"choices": [{"message": message}], "usage": usage})

        def _send(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            if status == 302:
                self.send_header("Location", "http://elsewhere.invalid/")
            self.send_header("Content-Length", str(len(data)))
            with suppress(ConnectionError):  # a client whose deadline is over has left
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
