"""Speed of a retriever behind its server: one client compared with pyserini, and many clients."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.search_qa.retrieval_load import Pyserini, Served, many_clients, serving
from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience

K, BATCH, CLIENTS, WARM_UP = 3, 8, 64, 500
PATIENCE = Patience(120.0, 240.0)
STANDARD = (0.9, 0.4)  # k1 and b


class Size(NamedTuple):
    """Size of the benchmark."""

    turns: int
    requests: int  # requests of eight queries per turn
    loads: int  # turns of the 64 clients
    queries: int  # queries of the 64 clients per turn
    env: tuple[int, int]  # episodes and repeats of the environment benchmark


FULL = Size(9, 60, 5, 1280, (500, 15))
SHORT = Size(3, 30, 1, 640, (100, 3))


def timed_requests(client: Retriever, queries: Sequence[str]) -> tuple[float, list[float]]:
    """Send requests of eight queries; return seconds in total and milliseconds of each request."""
    latencies = []
    for start in range(0, len(queries), BATCH):
        began = perf_counter()
        client.search(queries[start : start + BATCH], K)
        latencies.append(1e3 * (perf_counter() - began))
    return sum(latencies) / 1e3, latencies


def one_client(served: Served, direct: Pyserini | None, queries: Sequence[str], size: Size) -> dict[str, Any]:
    """Measure the server and pyserini in alternation, on the same queries."""
    client = HttpRetriever(served.url, "", PATIENCE)
    timed_requests(client, queries[:WARM_UP])
    if direct is not None:
        direct.search(queries[:WARM_UP], K, *STANDARD)
    count = size.requests * BATCH
    through, beside, latencies = list[float](), list[float](), list[float]()
    for turn in range(size.turns):
        start = WARM_UP + turn * count % max(1, len(queries) - WARM_UP - count)
        some = queries[start : start + count]
        seconds, each = timed_requests(client, some)
        through.append(len(some) / seconds)
        latencies += each
        if direct is not None:
            beside.append(len(some) / direct.search(some, K, *STANDARD)["seconds"])
    figures = {
        "queries_per_s": median(through),
        "p99_ms": quantiles(latencies, n=100)[98],
        "p50_ms": median(latencies),
    }
    if direct is not None:
        ratios = [ours / theirs for ours, theirs in zip(through, beside, strict=True)]
        figures |= {"pyserini_queries_per_s": median(beside), "ratio": median(ratios)}
    return figures


def batching(index: Path, queries: Sequence[str], size: Size) -> dict[str, float]:
    """Measure 64 clients with the server and with one that answers one query at a time, in alternation."""
    gains, rates, tails = list[float](), list[float](), list[float]()
    with serving(index) as together, serving(index, "--max_batch", "1") as single:
        for served in (together, single):
            many_clients(served.url, CLIENTS, queries[: size.queries // 2], K)
        for _ in range(size.loads):
            ours, theirs = (
                many_clients(s.url, CLIENTS, queries[: size.queries], K) for s in (together, single)
            )
            gains.append(theirs["seconds"] / ours["seconds"])
            rates.append(size.queries / ours["seconds"])
            tails.append(quantiles(ours["latencies_ms"], n=100)[98])
    return {"gain": median(gains), "queries_per_s": median(rates), "p99_ms": median(tails)}
