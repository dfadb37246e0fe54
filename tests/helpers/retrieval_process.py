"""The retrieval server as a process, for the tests of it and of who starts it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULE = "stepopsd_envs.search_qa.retrieval.server"


class Running:
    """A server process, and where it listens."""

    def __init__(self, *arguments: str, token: str = "") -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "STEPOPSD_RETRIEVER_TOKEN": token}
        self.process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines = [self.process.stdout.readline()]
        while self.lines[-1] and not self.lines[-1].startswith("ready "):
            self.lines.append(self.process.stdout.readline())
        self.url = f"{self.lines[-1]} - -".split()[1]

    def end(self) -> tuple[int, str]:
        """Exit code and standard error."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def running(*arguments: str, token: str = "") -> Iterator[Running]:
    """A server on a free port, killed at the end if it still runs."""
    server = Running(*arguments, "--port", "0", token=token)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def ask(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Status and answer of a POST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + "/retrieve", data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
