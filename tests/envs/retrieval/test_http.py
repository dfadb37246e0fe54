"""The HTTP retriever against servers that fail in every way, over real sockets."""

import os
import pickle
import socket
import threading
import time
from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.http import PER_REQUEST, HttpRetriever, Patience
from stepopsd_wrappers import RecordEpisode, read_episodes
from tests.helpers.retrieval import (
    ScriptedServer,
    drips,
    finds,
    hangs_up,
    http_answer,
    says,
    scripted,
    waits,
)
from tests.helpers.search_qa import answer, library_env, search, write_rows


def cuts_off(connection: socket.socket, request: bytes) -> None:
    """Send half an answer."""
    connection.sendall(http_answer(b"x" * 99)[:-50])
    hangs_up(connection, request)


QUICK = Patience(attempt_s=0.3, search_s=0.8)
SOON = 3.0  # seconds within which a search with QUICK ends, on a busy machine


def retriever(server: ScriptedServer, patience: Patience = QUICK, token: str = "") -> HttpRetriever:
    """A client of a server."""
    return HttpRetriever(server.url, token, patience)


def ids(client: HttpRetriever, *queries: str) -> list[list[str]]:
    """What is found."""
    return [[passage.id for passage in one] for one in client.search(queries or ("q",), 3)]


def test_search_asks_once_and_keeps_the_connection() -> None:
    """One request per search, all over one connection, with passages and scores as sent."""
    with scripted(finds("a", "b")) as server:
        client = retriever(server)
        for _ in range(3):
            ((first, _),) = client.search(["q"], 3)
        assert (first.id, first.title, first.text, first.score) == ("a", "T", "a", 1.5)
        assert (len(server.requests), server.connections) == (3, 1)
        assert ids(client, "x", "y") == [["a", "b"]] * 2
        client.close()
        with pytest.raises(RetrieverError, match="closed; open it again"):
            client.search(["q"], 3)
        client.close()


def test_no_queries_need_no_request() -> None:
    """And many are sent in several."""
    with scripted(finds("a")) as server:
        client = retriever(server)
        assert client.search([], 3) == []
        assert ids(client, *["q"] * (PER_REQUEST + 1)) == [["a"]] * (PER_REQUEST + 1)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        says({"detail": "oops"}, "500 Internal Server Error"),
        says(b"busy", "503 Service Unavailable"),
        says(b"later", "429 Too Many Requests"),
        hangs_up,
        lambda connection, request: connection.sendall(b"\x00\xff garbage\r\n\r\n" * 9),
        cuts_off,
        waits(0.5, finds("late")),
        drips(0.05),
    ],
)
def test_fault_is_tried_again(fault: object) -> None:
    """Two failures, then an answer: the search does not notice."""
    with scripted(fault, fault, finds("a")) as server:  # type: ignore[arg-type]  # behaviours of several forms
        assert ids(retriever(server, Patience(0.3, 5.0))) == [["a"]]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (says({"detail": "oops"}, "500 Internal Server Error"), "status 500"),
        (hangs_up, "closed the connection"),
        (waits(30.0, finds("late")), "no answer in time"),
        (drips(0.05), "no answer in time"),
        (lambda connection, request: connection.sendall(b"garbage\r\n\r\n"), "not HTTP"),
    ],
)
def test_lasting_fault_ends_at_the_deadline(fault: object, said: str) -> None:
    """With what the last attempt met, and that later may be better."""
    with scripted(fault) as server:  # type: ignore[arg-type]
        began = time.monotonic()
        with pytest.raises(RetrieverError, match=said) as error:
            retriever(server).search(["q"], 3)
        assert time.monotonic() - began < SOON
        assert error.value.transient and server.url in str(error.value)
        assert error.value.__cause__ is not None


def test_refused_connection_ends_at_the_deadline() -> None:
    """Nobody listens; several attempts were made."""
    with scripted(finds("a")) as server:
        pass
    client = retriever(server)
    with pytest.raises(RetrieverError, match=r"in [3-9] attempts.*Connection refused") as error:
        client.search(["q"], 3)
    assert error.value.transient


def test_server_that_comes_back_is_used() -> None:
    """It is down when the search begins."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    client = HttpRetriever(f"http://127.0.0.1:{port}", "", Patience(1.0, 10.0))
    found: list[list[str]] = []
    thread = threading.Thread(target=lambda: found.extend(ids(client)))
    thread.start()
    time.sleep(0.25)
    with scripted(finds("a"), port=port):
        thread.join()
    assert found == [["a"]]


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "413 Too Large", "302 Found"])
def test_refusal_is_final(status: str) -> None:
    """What is wrong with the request stays wrong."""
    with scripted(says({"detail": "why"}, status)) as server:
        with pytest.raises(RetrieverError, match="why") as error:
            retriever(server).search(["q"], 3)
        assert not error.value.transient and len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>proxy</html>", "not JSON"),
        (b"", "not JSON"),
        ({"result": []}, "0 lists for 1 queries"),
        ({"result": [[{"document": {"id": "a"}}]]}, "the keys are 'id'"),
        ({"answer": 42}, 'no "result"'),
    ],
)
def test_malformed_answer_is_final(body: object, said: str) -> None:
    """Another server is no better half a minute later; the error says what it sent and what belongs there."""
    with scripted(says(body)) as server:
        with pytest.raises(RetrieverError, match=f"malformed: .*{said}.*wire format of Search-R1") as error:
            retriever(server).search(["q"], 3)
        assert not error.value.transient and len(server.requests) == 1 and server.url in str(error.value)


def test_token_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment or given; a refusal names the variable, not the token."""
    monkeypatch.setenv("STEPOPSD_RETRIEVER_TOKEN", "hush-hush")
    with scripted(says({"detail": "no"}, "401 Unauthorized")) as server:
        client = HttpRetriever(server.url, patience=QUICK)
        with pytest.raises(RetrieverError, match="STEPOPSD_RETRIEVER_TOKEN") as error:
            client.search(["q"], 3)
        assert b"Authorization: Bearer hush-hush" in server.requests[0]
        assert "hush" not in f"{error.value!r}{client!r}{client.fingerprint}"
        assert b"hush" not in pickle.dumps(client)
        assert pickle.loads(pickle.dumps(client)).url == server.url
    monkeypatch.delenv("STEPOPSD_RETRIEVER_TOKEN")
    with scripted(finds("a")) as server:
        HttpRetriever(server.url, patience=QUICK).search(["q"], 3)
        assert b"Authorization" not in server.requests[0]


def test_idle_connection_that_was_closed_costs_no_attempt() -> None:
    """A server closes what nobody used for a while; that is no fault of its."""
    with scripted(finds("a"), hangs_up, finds("b")) as server:
        client = retriever(server, Patience(5.0, 5.0))
        ids(client)
        began = time.monotonic()
        assert ids(client) == [["b"]]
        assert time.monotonic() - began < 0.09  # less than the first pause
        assert server.connections == 2


def test_fingerprint_is_the_servers() -> None:
    """Asked once; a server that does not say is known by its address."""
    with scripted(finds("a"), health=says({"status": "ok", "fingerprint": "f1"})) as server:
        client = retriever(server)
        assert client.fingerprint == "f1"
        server.stop()
        assert client.fingerprint == "f1"
    for silent in (None, says({"fingerprint": 3}), says([]), says(b"hello")):
        with scripted(finds("a"), health=silent) as server:
            assert retriever(server).fingerprint == f"unknown, at {server.url}"


def test_another_retriever_at_the_address_is_refused() -> None:
    """A run must not go on with the passages of another corpus."""
    one, other = (finds("a", headers=f"stepopsd-fingerprint: {name}\r\n") for name in ("f1", "f2"))
    with scripted(one, one, other, health=says({"fingerprint": "f1"})) as server:
        client = retriever(server)
        ids(client), ids(client)
        with pytest.raises(RetrieverError, match="changed from f1 to f2") as error:
            ids(client)
        assert not error.value.transient


def test_threads_share_a_retriever() -> None:
    """Each gets its own answers."""

    def echo(connection: socket.socket, request: bytes) -> None:
        name = request.rpartition(b'["')[2].partition(b'"')[0].decode()
        finds(name)(connection, request)

    with scripted(echo) as server:
        client = retriever(server, Patience(10.0, 30.0))
        found: dict[int, list[list[str]]] = {}
        threads = [
            threading.Thread(target=lambda n=n: found.update({n: ids(client, f"t{n}")})) for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: [[f"t{n}"]] for n in range(16)}


def test_forked_process_makes_its_own_connection() -> None:
    """Two processes on one socket would read each other's answers."""
    with scripted(finds("a")) as server:
        client = retriever(server, Patience(10.0, 30.0))
        ids(client)
        child = os.fork()
        if child == 0:
            os._exit(0 if ids(client) == [["a"]] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert ids(client) == [["a"]]
        assert server.connections == 2


@pytest.mark.parametrize(
    "fault", [hangs_up, says(b"<html>"), says({}, "500 Oops"), waits(30.0, finds("late"))]
)
def test_failure_in_mid_episode_is_recorded_as_an_error(tmp_path: Path, fault: object) -> None:
    """Not as reward 0: the episode has its error, and the next one goes on as if nothing had been."""
    with scripted(finds("mill"), fault) as server:  # type: ignore[arg-type]
        env = library_env(tmp_path, retriever(server))
        with RecordEpisode(env, tmp_path / "record") as recorded:
            recorded.reset(seed=0, options={"question": "q2"})
            recorded.step(search("Old Mill"))
            with pytest.raises(RetrieverError):
                recorded.step(search("Ada Brenk"))
            recorded.reset(seed=0, options={"question": "q1"})
            recorded.step(answer("Ada Brenk"))
    failed, good = read_episodes(tmp_path / "record")
    error = failed.steps[-1].error
    assert error is not None and "RetrieverError" in error
    assert failed.num_steps == 2 and not failed.steps[-1].terminated
    assert not good.failed and good.episode_return == 1.0


def test_server_that_stops_in_mid_episode_is_recorded_as_an_error(tmp_path: Path) -> None:
    """The connection is cut and no other can be made."""
    write_rows(tmp_path / "unused.jsonl")
    with scripted(finds("mill"), hangs_up) as server:
        env = library_env(tmp_path, retriever(server))
        with RecordEpisode(env, tmp_path / "record") as recorded:
            recorded.reset(seed=0, options={"question": "q2"})
            recorded.step(search("Old Mill"))
            server.stop()
            with pytest.raises(RetrieverError, match=r"Connection refused|closed the connection"):
                recorded.step(search("Ada Brenk"))
    (failed,) = read_episodes(tmp_path / "record")
    assert failed.steps[-1].error and not failed.steps[-1].terminated
