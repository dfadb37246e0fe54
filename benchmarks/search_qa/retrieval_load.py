"""Servers and clients for the retrieval benchmark, and pyserini called directly.

``python -m benchmarks.search_qa.retrieval_load clients URL CLIENTS`` reads queries as JSON from standard
input, distributes them over the clients, each of which sends one query at a time over its own connection, and
prints seconds and latencies. ``... pyserini INDEX`` answers requests, one JSON object per line, with
pyserini's LuceneSearcher in its process.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stepopsd_envs.search_qa.retrieval.java import configure_java, pyserini_environment
from stepopsd_envs.search_qa.retrieval.wire import READY, write_request

ROOT = Path(__file__).parents[2]
SERVER = "stepopsd_envs.search_qa.retrieval.server"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str
    pid: int

    def memory_mb(self) -> float:
        """Its current resident memory, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
        return int(kilobytes) / 1024


@contextmanager
def serving(index: Path, *flags: str) -> Iterator[Served]:
    """Serve an index on a free port."""
    command = [sys.executable, "-m", SERVER, str(index), "--port", "0", "--stop_with_stdin", *flags]
    with _started(command, dict(os.environ)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(f"the server of {index} did not start; see its message above")
        yield Served(line.split()[1], process.pid)


def many_clients(url: str, clients: int, queries: Sequence[str], k: int) -> dict[str, Any]:
    """Send queries from many clients in a new process; return seconds and milliseconds of each query."""
    command = [sys.executable, "-m", "benchmarks.search_qa.retrieval_load", "clients", url, str(clients)]
    given = json.dumps({"queries": list(queries), "k": k})
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the clients failed:\n{done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class Pyserini:
    """Pyserini's LuceneSearcher, called directly in a separate process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def search(self, queries: Sequence[str], k: int, k1: float, b: float) -> dict[str, Any]:
        """Seconds for all queries, one after the other, and the ids of the results."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"queries": list(queries), "k": k, "k1": k1, "b": b}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("pyserini ended; see its message above")


@contextmanager
def pyserini(index: Path) -> Iterator[Pyserini]:
    """Start pyserini on a Lucene index."""
    command = [sys.executable, "-m", "benchmarks.search_qa.retrieval_load", "pyserini", str(index)]
    # Importing pyserini creates a client of a service that is not used here, which needs some key.
    environment = {**pyserini_environment(), "OPENAI_API_KEY": "unused"}
    with _started(command, environment) as process:
        yield Pyserini(process)


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "wrappers"), environment.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


async def _client(address: tuple[str, int], requests: Sequence[bytes], latencies: list[float]) -> None:
    """Send requests one after the other and read each answer completely."""
    reader, writer = await asyncio.open_connection(*address)
    for request in requests:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server refused: {head[:100]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        latencies.append(1e3 * (time.perf_counter() - began))
    writer.close()


async def _load(url: str, clients: int, queries: Sequence[str], k: int) -> dict[str, Any]:
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    bodies = [write_request([query], k) for query in queries]
    head = f"POST /retrieve HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    latencies: list[float] = []
    began = time.perf_counter()
    address = (place.hostname, place.port)
    await asyncio.gather(*(_client(address, requests[n::clients], latencies) for n in range(clients)))
    return {"seconds": time.perf_counter() - began, "latencies_ms": latencies}


def _answer_as_pyserini(index: str) -> None:
    configure_java()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(index)
    for line in sys.stdin:
        asked = json.loads(line)
        searcher.set_bm25(asked["k1"], asked["b"])
        began = time.perf_counter()
        # Read text and score of each passage, as an environment does.
        found = [
            [
                (hit.docid, hit.score, hit.lucene_document.get("raw"))
                for hit in searcher.search(query, asked["k"])
            ]
            for query in asked["queries"]
        ]
        seconds = time.perf_counter() - began
        ids = [[name for name, _, _ in one] for one in found]
        print(json.dumps({"seconds": seconds, "ids": ids}), flush=True)


def main() -> int:
    """Run one of the two parts."""
    if sys.argv[1] == "pyserini":
        _answer_as_pyserini(sys.argv[2])
        return 0
    asked = json.load(sys.stdin)
    print(json.dumps(asyncio.run(_load(sys.argv[2], int(sys.argv[3]), asked["queries"], asked["k"]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
