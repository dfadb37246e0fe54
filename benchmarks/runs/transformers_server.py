"""``transformers serve`` as a process: a real server with OpenAI's interface, on a free loopback port."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("fastapi", "openai", "uvicorn")
"""Further packages that ``transformers serve`` needs: ``pip install "transformers[serving]"``."""
LONGEST_START_S = 300.0
ESTABLISHED = "01"
"""State of a connection, as Linux writes it."""


class TransformersServer:
    """Serves the model in a folder, by the folder's name; it can be killed and started again.

    Attributes:
        url: of the interface.
        model: name of the model there.
    """

    def __init__(self, folder: Path, log: Path, port: int | None = None) -> None:
        """Choose a port; nothing runs yet.

        Args:
            folder: of the model.
            log: file for what the server prints.
            port: None for a free one.
        """
        self._folder, self._log = folder.resolve(), log
        self.port = free_port() if port is None else port
        self.url, self.model = f"http://127.0.0.1:{self.port}/v1", folder.name
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ModuleNotFoundError: a package is missing.
            RuntimeError: it ended, or took too long; the message names its log.
        """
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(
                f"transformers serve needs {', '.join(missing)}: pip install 'transformers[serving]'"
            )
        words = ["-m", "transformers.cli.transformers", "serve", self.model, "--device", "cpu"]
        # The model is a folder here, so the Hub is not needed.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("OPENAI_API_KEY", None)  # the client's, not the server's
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words, "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self._folder.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + LONGEST_START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"transformers serve did not start; see {self._log}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, as a machine that runs out of memory would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def under_way(self) -> int:
        """Connections of clients at this moment, as Linux counts them."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        end = f":{self.port:04X}"
        return sum(local.endswith(end) and state == ESTABLISHED for _, local, _, state, *_ in rows)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url.removesuffix("v1") + "health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def transformers_server(folder: Path, log: Path) -> Iterator[TransformersServer]:
    """A server that answers, killed at the end."""
    server = TransformersServer(folder, log)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A loopback port on which no process is listening now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
