"""A server that a retriever starts for itself, and ends with it."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.child import RESTARTS, ChildRetriever
from stepopsd_envs.search_qa.retrieval.http import Patience
from tests.helpers.retrieval_process import ROOT, ask

REASON = "the extra search is not installed: no server"
pytest.importorskip("fastapi", reason=REASON)
pytest.importorskip("uvicorn", reason=REASON)

PATIENT = Patience(60.0, 120.0)


def test_server_ends_with_the_process_that_started_it(index: Path) -> None:
    """Even when that is killed: its end of the pipe closes."""
    script = (
        "import sys, time; from stepopsd_envs.search_qa.retrieval.child import ChildRetriever;"
        f"r = ChildRetriever({str(index)!r}, 'bm25'); print(r.pid, r.url, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    pid, url = parent.stdout.readline().split()
    parent.kill()
    parent.communicate()
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    with pytest.raises(urllib.error.URLError):
        ask(url, {"queries": ["fox"]})


def test_child_is_started_again_when_it_dies(index: Path) -> None:
    """A few times; then there is something wrong with it."""
    child = ChildRetriever(index, "bm25", PATIENT)
    fingerprint, found = child.fingerprint, child.search(["fox"], 1)
    for _ in range(RESTARTS):
        os.kill(child.pid, signal.SIGKILL)
        assert child.search(["fox"], 1) == found
    assert child.fingerprint == fingerprint
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(RetrieverError, match=f"died {RESTARTS + 1} times"):
        while True:  # until it has died
            child.search(["fox"], 1)
    child.close()
    child.close()
    with pytest.raises(RetrieverError, match="is closed"):
        child.search(["fox"], 1)


def test_child_answers_nobody_else(index: Path) -> None:
    """Its token is known to the process that started it alone, which Ctrl-C does not take the server from."""
    child = ChildRetriever(index, "bm25", PATIENT)
    assert ask(child.url, {"queries": ["fox"]})[0] == 401
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.close()
    assert not Path(f"/proc/{child.pid}").exists()


def test_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    """In the words of its log."""
    with pytest.raises(RetrieverError, match=r"did not start.*nowhere does not exist") as error:
        ChildRetriever(tmp_path / "nowhere", "bm25")
    assert not error.value.transient


def test_forked_process_starts_a_server_of_its_own(index: Path) -> None:
    """It cannot wait for its parent's, and must not stop it."""
    child = ChildRetriever(index, "bm25", PATIENT)
    found, parents = child.search(["fox"], 1), child.pid
    forked = os.fork()
    if forked == 0:
        good = child.search(["fox"], 1) == found and child.pid != parents
        child.close()
        os._exit(0 if good else 1)
    assert os.waitpid(forked, 0)[1] == 0
    assert child.search(["fox"], 1) == found and child.pid == parents
    child.close()
