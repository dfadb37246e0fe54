"""A retriever server of one's own, in a process that ends with this one."""

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
SILENCE_S = 600.0  # without a line from a server that loads or builds
STOP_S = 15.0
RESTARTS = 3


class ChildRetriever:
    """Starts a server on a free port of this machine, asks it, and stops it.

    A server that died is started again, three times at most. A process that was forked starts one of its own.

    Args:
        source: index folder or corpus file.
        kind: of the index.
        patience: how long to wait for answers.
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
        """A copy starts a server of its own."""
        return ChildRetriever, (self._source, self._kind, self._patience)

    @property
    def fingerprint(self) -> str:
        """What the server says it searches."""
        return self._fingerprint

    @property
    def url(self) -> str:
        """Where the server listens. It answers only who knows its token."""
        return self._server.url

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._server.pid

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Ask the server; one that died is started again first."""
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
        """Stop the server; calling it again does nothing."""
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
                    f"the {self._kind} server died {RESTARTS + 1} times: {self._server.last_words()}",
                    transient=False,
                )
            self._restarts += 1
            self._http.close()
            self._server.stop()
            self._server = _Server(self._source, self._kind)
            self._http = self._connected()
            if self._http.fingerprint != self._fingerprint:
                raise RetrieverError(
                    f"{self._source} has changed since the server was started; begin anew", transient=False
                )


class _Server:
    """One process."""

    def __init__(self, source: str, kind: str) -> None:
        self.token = secrets.token_urlsafe(16)  # other users of this machine reach its ports, too
        self._log = tempfile.TemporaryFile()
        command = [sys.executable, "-m", MODULE, source, "--kind", kind, "--port", "0", "--stop_with_stdin"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(self.token),
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
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
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process: asked first, then made to."""
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

    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        if self._log.closed:
            return "its log is closed"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return " / ".join(lines[-5:]) or f"it said nothing (exit code {self._process.poll()})"

    def _wait_until_ready(self, kind: str) -> str:
        """The address from the ready line."""
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(self._process, lines), daemon=True).start()
        while True:
            try:
                words = lines.get(timeout=SILENCE_S).split()
            except queue.Empty as error:
                raise RetrieverError(
                    f"the {kind} server said nothing for {SILENCE_S:.0f} s: {self.last_words()}",
                    transient=False,
                ) from error
            if not words:
                self._process.wait()
                raise RetrieverError(f"the {kind} server did not start: {self.last_words()}", transient=False)
            if words[0] == READY:
                return words[1]


def _pass_on(process: "subprocess.Popen[bytes]", lines: "queue.SimpleQueue[str]") -> None:
    """Read the server's lines for as long as it lives, so that it never waits for a reader."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line.decode("utf-8", "replace"))
    lines.put("")


def _environment(token: str) -> dict[str, str]:
    root = str(Path(__file__).parents[3])  # found there, too, when this package is not installed
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, path] if path else [root]),
        TOKEN_VARIABLE: token,
    }
