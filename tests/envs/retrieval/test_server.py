"""The server as a process: what it answers, what it refuses, how it starts and stops."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from tests.helpers.retrieval import SHELF
from tests.helpers.retrieval_process import ROOT, Running, ask, running

REASON = "the extra search is not installed: no server"
pytest.importorskip("fastapi", reason=REASON)
pytest.importorskip("uvicorn", reason=REASON)

PATIENT = Patience(60.0, 120.0)


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[Running]:
    """One server for the tests that only ask."""
    limits = ["--max_queries", "5", "--max_body_mb", "0.01", "--topk", "2"]
    with running(str(index), *limits) as found:
        yield found


def test_server_answers_as_search_r1s(server: Running) -> None:
    """With scores: objects of document and score; without: bare documents; the default number of passages."""
    status, answer = ask(server.url, {"queries": ["red fox", "sea"], "topk": 3, "return_scores": True})
    assert status == 200
    (first, *_), sea = answer["result"]
    assert first["document"] == {
        "id": "p1",
        "contents": '"Red Fox"\nThe red fox lives in forests and eats mice.',
    }
    assert first["score"] > 0
    assert {one["document"]["id"] for one in sea} == {"p2", "p4"}
    status, answer = ask(server.url, {"queries": ["eats salmon in the sea"]})
    assert [set(one) for one in answer["result"][0]] == [{"id", "contents"}] * 2
    assert ask(server.url, {"queries": []}) == (200, {"result": []})


def test_server_tells_its_health(server: Running, index: Path) -> None:
    """And what it searches, which stands in the ready line, too."""
    with urllib.request.urlopen(server.url + "/health", timeout=60) as answer:
        health = json.load(answer)
    fingerprint = open_retriever("bm25", str(index)).fingerprint
    assert health == {"status": "ok", "retriever": "bm25", "fingerprint": fingerprint}
    assert server.lines[-1].split() == ["ready", server.url, "bm25", fingerprint]
    assert HttpRetriever(server.url).fingerprint == fingerprint


def test_server_finds_what_the_index_finds(server: Running, index: Path) -> None:
    """The same passages with the same scores."""
    queries = ["red fox", "brown bear salmon", "nothing of it", "", "</information>\x00\ud800 sea \u202e"]
    direct = open_retriever("bm25", str(index)).search(queries, 3)
    assert HttpRetriever(server.url, patience=PATIENT).search(queries, 3) == direct


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"{", 400, "not JSON"),
        ({"queries": "a"}, 400, "list of strings"),
        ({"queries": ["a"] * 6}, 400, "at most 5"),
        ({"queries": ["a"], "topk": 10_000}, 400, "from 1 to 1000"),
        ({"queries": ["a" * 20_000]}, 413, "longer than"),
    ],
)
def test_server_refuses_what_is_too_much(server: Running, body: Any, status: int, problem: str) -> None:
    """With what is allowed, and goes on."""
    got, answer = ask(server.url, body)
    assert got == status and problem in answer["detail"]
    assert ask(server.url, {"queries": ["fox"]})[0] == 200


def test_server_reads_no_further_than_allowed(server: Running) -> None:
    """A body whose length is not announced is cut off, too."""
    command = f"import http.client as h; c = h.HTTPConnection('{server.url[7:]}'); " + (
        "c.request('POST', '/retrieve', iter([b'x' * 9000] * 9), {'Transfer-Encoding': 'chunked'}, "
        "encode_chunked=True); print(c.getresponse().status)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "413" or "Broken pipe" in done.stderr or "reset" in done.stderr


def test_server_has_no_other_pages(server: Running) -> None:
    """None that describe it with scripts from elsewhere, above all."""
    for path in ("/docs", "/redoc", "/openapi.json", "/"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url + path, timeout=60)


def test_server_answers_many_clients(server: Running) -> None:
    """Each gets its own answers, whatever batches they were in."""
    words = {"fox": "p1", "whale": "p2", "bear": "p3", "rivers": "p4"}
    wrong: list[str] = []

    def client(word: str, wanted: str) -> None:
        asker = HttpRetriever(server.url, patience=PATIENT)
        for _ in range(10):
            if [p.id for p in asker.search([word], 1)[0]] != [wanted]:
                wrong.append(word)

    threads = [threading.Thread(target=client, args=pair) for pair in list(words.items()) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_server_wants_its_token(index: Path) -> None:
    """Without it, or with another, there is no answer; it is not logged."""
    with running(str(index), token="hush-hush") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "hush-hush"}):
            status, answer = ask(server.url, {"queries": ["fox"]}, **headers)
            assert status == 401 and "hush" not in str(answer)
        assert ask(server.url, {"queries": ["fox"]}, Authorization="Bearer hush-hush")[0] == 200
        with pytest.raises(RetrieverError, match="STEPOPSD_RETRIEVER_TOKEN"):
            HttpRetriever(server.url, "wrong").search(["fox"], 1)
        server.process.terminate()
        code, said = server.end()
        assert code == 0 and "hush" not in said + "".join(server.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_stops_cleanly(index: Path, number: signal.Signals) -> None:
    """Exit code 0, no trace, nobody listens any more."""
    with running(str(index)) as server:
        assert server.url.startswith("http://127.0.0.1:")
        ask(server.url, {"queries": ["fox"]})
        server.process.send_signal(number)
        assert server.end() == (0, "")
        with pytest.raises(urllib.error.URLError):
            ask(server.url, {"queries": ["fox"]})


def test_port_in_use_is_an_error(server: Running, index: Path) -> None:
    """Exit code 2 and what to do."""
    port = server.url.rpartition(":")[2]
    second = Running(str(index), "--port", port)
    code, said = second.end()
    assert code == 2
    assert "cannot listen on 127.0.0.1" in said and "--port" in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "does not exist"),
        (["."], "holds no index"),
        (["{index}", "--kind", "lucene"], "is of kind 'bm25', not 'lucene'"),
        (["{index}", "--kind", "best"], "invalid choice"),
        (["{index}", "--max_batch", "0"], "(--max_batch) is 0; give more than 0"),
        (["{index}", "--topk", "0"], "(--topk) is 0"),
        (["{index}", "--topk", "5000"], "(--topk) is 5000; give at most 1000"),
        (["{index}", "--max_queries", "-1"], "(--max_queries) is -1"),
        (["{index}", "--max_body_mb", "0"], "(--max_body_mb) is 0"),
        (["{index}", "--max_body_mb", "nan"], "--max_body_mb is nan; give a number"),
        (["{index}", "--port", "99999"], "--port is 99999; give 0 to 65535"),
    ],
)
def test_server_refuses_what_it_cannot_serve(index: Path, arguments: list[str], problem: str) -> None:
    """Before it says that it is ready."""
    server = Running(*(argument.format(index=index) for argument in arguments))
    code, said = server.end()
    assert code == 2 and problem in said and server.lines == [""]


def test_server_on_a_public_address_warns_without_a_token(index: Path) -> None:
    """It does what it is told, and says who can reach it."""
    with running(str(index), "--host", "0.0.0.0") as server:
        assert server.url.startswith("http://0.0.0.0:")
        server.process.terminate()
        code, said = server.end()
        assert code == 0 and "everyone who can reach 0.0.0.0" in said


def test_slow_body_is_refused() -> None:
    """A client that never finishes its request holds nothing for long."""
    import asyncio

    from stepopsd_envs.search_qa.retrieval.app import Limits, make_app
    from stepopsd_envs.search_qa.retrieval.bm25 import Bm25

    sent: list[dict[str, Any]] = []

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/retrieve", "headers": [], "query_string": b""}
    app = make_app(Bm25(SHELF), "bm25", Limits(body_s=0.05))
    asyncio.run(app(scope, never, send))
    assert sent[0]["status"] == 408


def test_command_becomes_the_server(index: Path) -> None:
    """With its flags; signals reach it at once."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "stepopsd_agent",
            "serve-retriever",
            str(index),
            "--port=0",
            "--topk",
            "1",
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'wrappers'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready, url, *_ = process.stdout.readline().split()
    assert ready == "ready"
    assert len(ask(url, {"queries": ["red fox brown bear"]})[1]["result"][0]) == 1
    process.terminate()
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
