"""A private retriever server in a child process, which ends with this process."""

import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience
from stepopsd_envs.search_qa.retrieval.wire import READY, TOKEN_VARIABLE

MODULE = "stepopsd_envs.search_qa.retrieval.server"
SILENCE_S = 600.0  # greatest time without a line from a server that loads or builds an index
STOP_S = 15.0
RESTARTS = 3


class ChildRetriever:
    """Starts a server on a free local port, sends queries to it, and stops it.

    If the server dies it is restarted, at most three times. A forked process starts its own server.

    Args:
        source: index folder or corpus file.
        kind: kind of the index.
        patience: time limits of a search.

    Raises:
        RetrieverError: the server does not start.
    """

    def __init__(self, source: str | Path, kind: str, patience: Patience | None = None) -> None:
        self._source, self._kind, self._patience = str(source), kind, patience
        self._restarts = 0
        self._lock = threading.Lock()
        self._server = _Server(self._source, kind)
        self._http = self._connected()
        self._fingerprint = self._http.fingerprint
        self._open = True

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments: a copy starts its own server."""
        return ChildRetriever, (self._source, self._kind, self._patience)

    @property
    def fingerprint(self) -> str:
        """The fingerprint that the server reports."""
        return self._fingerprint

    @property
    def url(self) -> str:
        """Address of the server; it answers only requests with its token."""
        return self._server.url

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._server.pid

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Search on the server, which is restarted first if it has died.

        Raises:
            RetrieverError: the server does not answer, has died too often, or this retriever is closed.
        """
        if not self._open:
            raise RetrieverError("the retriever is closed; open it again", transient=False)
        self._revive()
        try:
            return self._http.search(queries, k)
        except RetrieverError:
            if self._server.alive():
                raise
            self._revive()
            return self._http.search(queries, k)

    def close(self) -> None:
        """Stop the server; further calls do nothing."""
        self._open = False
        self._http.close()
        self._server.stop()

    def _connected(self) -> HttpRetriever:
        return HttpRetriever(
            self._server.url, self._server.token, self._patience, lambda: self._server.alive()
        )

    def _revive(self) -> None:
        with self._lock:
            if self._server.alive():
                return
            if self._restarts == RESTARTS:
                raise RetrieverError(
                    f"the {self._kind} server died {RESTARTS + 1} times: {self._server.log_end()}",
                    transient=False,
                )
            self._restarts += 1
            self._http.close()
            self._server.stop()
            self._server = _Server(self._source, self._kind)
            self._http = self._connected()
            if self._http.fingerprint != self._fingerprint:
                raise RetrieverError(
                    f"{self._source} has changed since the server was started; open the retriever again",
                    transient=False,
                )


class _Server:
    """One server process."""

    def __init__(self, source: str, kind: str) -> None:
        self.token = secrets.token_urlsafe(16)  # other users of this machine can reach its ports, too
        self._log = tempfile.TemporaryFile()
        command = [sys.executable, "-m", MODULE, source, "--kind", kind, "--port", "0", "--stop_with_stdin"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(self.token),
            start_new_session=True,  # Ctrl-C must reach only this process, which then stops the server
        )
        try:
            self.url = self._wait_until_ready(kind)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process: SIGTERM first, SIGKILL after ``STOP_S`` seconds."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdin.close()
        self._log.close()

    def log_end(self) -> str:
        """The last lines of its standard error."""
        if self._log.closed:
            return "its log is closed"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return " / ".join(lines[-5:]) or f"no output (exit code {self._process.poll()})"

    def _wait_until_ready(self, kind: str) -> str:
        """Wait for the ready line and return its address."""
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(self._process, lines), daemon=True).start()
        while True:
            try:
                words = lines.get(timeout=SILENCE_S).split()
            except queue.Empty as error:
                raise RetrieverError(
                    f"the {kind} server printed nothing for {SILENCE_S:.0f} s: {self.log_end()}",
                    transient=False,
                ) from error
            if not words:
                self._process.wait()
                raise RetrieverError(f"the {kind} server did not start: {self.log_end()}", transient=False)
            if words[0] == READY:
                return words[1]


def _pass_on(process: "subprocess.Popen[bytes]", lines: "queue.SimpleQueue[str]") -> None:
    """Read all lines of the server, so that a full pipe never blocks it."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line.decode("utf-8", "replace"))
    lines.put("")


def _environment(token: str) -> dict[str, str]:
    root = str(Path(__file__).parents[3])  # so that the child finds this package even if it is not installed
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, path] if path else [root]),
        TOKEN_VARIABLE: token,
    }
