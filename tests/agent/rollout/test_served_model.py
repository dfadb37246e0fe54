"""Models behind a server with OpenAI's interface."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.rollout import ChatClient, ServedModelError
from stepopsd_wrappers import read_episodes
from tests.helpers.chat_server import chat_server, slowly
from tests.helpers.command_line import refusal, run

KEY = "sk-secret-of-a-test"
TINY = ["--env.tier=tiny", "--env.step_limit=4"]
QUICK = ["--openai.backoff=0.01", "--openai.retries=2", "--openai.deadline=20"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def walk(body: dict[str, Any], number: int) -> str:
    """A command that depends on the conversation alone."""
    return "look" if len(body["messages"]) % 4 else "inventory"


def test_served_model_plays_several_games_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each a conversation of its own; every step's tokens and time are written, the key is not."""
    out = tmp_path / "out"
    with chat_server(slowly(0.05, walk)) as server:
        flags = [f"--openai.url={server.url}", "--openai.concurrency=3", *QUICK, "--eval.temperature=0"]
        assert run("eval", "--agent=openai", *TINY, "--eval.num_games=6", *flags, f"--out={out}") == 0
    assert 2 <= server.most <= 3 and len(server.requests) == 24
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    longest = max((body["messages"] for body in server.requests), key=len)
    assert [message["role"] for message in longest] == ["system", *["user", "assistant"] * 3, "user"]
    assert "household" in longest[0]["content"] and longest[1]["content"].startswith("-= Welcome")
    assert longest[2]["content"] == "look" and ">" not in longest[3]["content"]
    assert server.requests[0]["model"] == "tiny" and server.requests[0]["max_tokens"] == 16
    episodes = list(read_episodes(out / "episodes"))
    assert {episode.steps[1].response for episode in episodes} == {"look"}
    rows = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["group"] == 0] == [1, 2, 3, 4]
    assert all(row["prompt_tokens"] == 7 and row["seconds"] > 0.04 and row["tries"] == 1 for row in rows)
    usage = json.loads((out / "evaluation.json").read_text())["usage"]
    assert (usage["steps"], usage["completion_tokens"], usage["repeated_requests"]) == (24, 24, 0)
    assert f"tiny at {server.url}: steps 24" in capsys.readouterr().err
    assert not any(KEY in path.read_text() for path in out.rglob("*") if path.is_file())


def test_served_model_repeats_what_can_succeed_later() -> None:
    """A busy server is asked again, at the time it names; one that refuses or sends elsewhere is not."""
    said: list[str | tuple[int, str]] = [(503, "starting"), (429, "slow down"), "go to desk 1"]
    with chat_server(lambda body, number: said[number]) as server:
        client = ChatClient(server.url, backoff=0.01)
        reply = client.complete("tiny", [{"role": "user", "content": "hello"}], temperature=0)
        assert (reply.text, reply.tries, reply.completion_tokens) == ("go to desk 1", 3, 4)
    for status in (400, 401, 302):
        with chat_server(lambda body, number, status=status: (status, f"no {KEY}")) as server:  # type: ignore[misc]
            with pytest.raises(ServedModelError, match=rf"status {status}: .*no \*\*\*") as refused:
                ChatClient(server.url, backoff=0.01).complete("tiny", [])
            assert len(server.requests) == 1 and KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("message", "usage", "expected"),
    [
        ('"look"', '{"prompt_tokens": null, "completion_tokens": 2}', ("look", -1, 2)),
        ('"look"', '{"prompt_tokens": Infinity, "completion_tokens": 2.5}', ("look", -1, -1)),
        ('"look"', "[1]", ("look", -1, -1)),
        ("null", "null", ("", -1, -1)),
        ('"look \\ud800 \\ud83d\\ude00"', "{}", ("look \ufffd \U0001f600", -1, -1)),
        ('[{"type": "thinking", "thinking": []}, {"type": "text", "text": "look"}]', "{}", ("look", -1, -1)),
    ],
)
def test_served_model_keeps_the_answer_whatever_is_counted(
    message: str, usage: str, expected: tuple[str, int, int]
) -> None:
    """Tokens that the server does not count are unknown; of an answer in parts the written ones count."""
    body = f'{{"choices": [{{"message": {{"content": {message}}}}}], "usage": {usage}}}'.encode()
    with chat_server(lambda _, number: body) as server:
        reply = ChatClient(server.url).complete("tiny", [])
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": ["look"]}}]}',
        b'{"choices": [], "sent": "Bearer %s"}' % KEY.encode(),
    ],
)
def test_served_model_takes_nothing_else_for_an_answer(body: bytes) -> None:
    """It becomes the error that the record holds, without the key, whatever the server sends."""
    with chat_server(lambda _, number: body) as server, pytest.raises(ServedModelError) as refused:
        ChatClient(server.url, retries=1, backoff=0.01).complete("tiny", [])
    assert KEY not in str(refused.value)


def test_served_model_keeps_an_echoed_key_out_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may send back what it was sent; the word that stands for no key may be a model's own."""
    with chat_server(lambda body, number: f"go to Bearer {KEY}") as server:
        assert ChatClient(server.url).complete("tiny", []).text == "go to Bearer ***"
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    with chat_server(lambda body, number: "EMPTY") as server:
        assert ChatClient(server.url).complete("tiny", []).text == "EMPTY"


def test_served_model_keeps_its_deadline() -> None:
    """Of one answer and of all repetitions; a server that is gone is said to be."""
    with chat_server(slowly(5, walk)) as server, pytest.raises(ServedModelError, match=r"1 tries.*Time"):
        ChatClient(server.url, deadline=0.3, backoff=0.01).complete("tiny", [])
    told = r"gave no answer in 3 tries, the last time .*refused.*openai\.url"
    with pytest.raises(ServedModelError, match=told):
        ChatClient(server.url, retries=2, backoff=0.01).complete("tiny", [])
    with (
        chat_server(lambda body, number: (500, "Internal Server Error")) as server,
        pytest.raises(ServedModelError, match=r"status 500: .*; the server's own log says why"),
    ):
        ChatClient(server.url, retries=1, backoff=0.01).complete("tiny", [])
    said: list[str] = []
    with pytest.raises(ServedModelError):
        ChatClient(server.url, retries=2, backoff=0.5).models(said.append)  # pauses of 0.5 and 1 s
    (line,) = said
    assert "no answer yet" in line and "refused" in line and line.endswith("asking up to 1 times more")
    with chat_server(lambda body, number: (503, "starting")) as server:
        with pytest.raises(ServedModelError, match="starting"):
            ChatClient(server.url, deadline=0.5, backoff=0.1, retries=99).complete("tiny", [])
        assert 2 <= len(server.requests) <= 4


def test_served_model_that_dies_leaves_records_and_an_evaluation_to_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was answered stays; the rest is played when it is back, and the result is the same."""
    out, whole = tmp_path / "out", tmp_path / "whole"

    def dying(body: dict[str, Any], number: int) -> "str | tuple[int, str]":
        return walk(body, number) if number < 10 else (500, "out of memory")

    with chat_server(dying) as server:
        flags = [f"--openai.url={server.url}", "--openai.concurrency=2", *QUICK, "--eval.temperature=0"]
        games = [*TINY, "--eval.num_games=5"]
        assert run("eval", "--agent=openai", *games, *flags, f"--out={out}") == 0
        failed = [episode for episode in read_episodes(out / "episodes") if episode.failed]
        assert len(failed) == 3 and "out of memory" in failed[0].steps[-1].agent_error
        server.answer = walk
        with (out / "requests.jsonl").open("a") as requests:
            requests.write('{"task_id": "half a row')  # as a process leaves it that is killed
        assert run("eval", f"--resume={out}") == 0
        assert run("eval", "--agent=openai", *games, *flags, f"--out={whole}") == 0
        assert run("replay", str(out)) == 0
    ended, at_once = (json.loads((folder / "evaluation.json").read_text()) for folder in (out, whole))
    assert (
        ended["usage"].pop("steps_without_answer") == 3 and at_once["usage"].pop("steps_without_answer") == 0
    )
    for table in (ended, at_once):
        table.pop("usage")
    assert ended == at_once and ended["n"] == 5


def test_served_model_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server, several models, a key at the wrong place."""
    out = tmp_path / "out"
    with chat_server(walk, models=("one", "two")) as server:
        flags = ["eval", "--agent=openai", *TINY, *QUICK, f"--out={out}"]
        line = refusal(capsys, *flags, f"--openai.url={server.url}")
        assert "lists 2 models (one, two); name one with --openai.model" in line
    assert "gave no answer in 3 tries" in refusal(capsys, *flags, f"--openai.url={server.url}")
    with chat_server(lambda body, number: (404, f"no {body['model']} here")) as server:  # it lists another
        line = refusal(capsys, *flags, f"--openai.url={server.url}", "--openai.model=big")
        assert "answered with status 404" in line and "no big here" in line
        assert [body["max_tokens"] for body in server.requests] == [1]
    line = refusal(capsys, *flags, "--openai.url=http://user:pass@localhost/v1")
    assert "put the key into OPENAI_API_KEY" in line and "pass@" not in line
    assert "give one such as" in refusal(capsys, *flags, "--openai.url=localhost:8000")
    assert not out.exists()


@pytest.mark.parametrize(
    ("key", "sent"), [(f"{KEY}\n", True), (f" {KEY}\r\n", True), (f"{KEY}\n{KEY}", False)]
)
def test_key_with_a_line_break_is_not_quoted(monkeypatch: pytest.MonkeyPatch, key: str, sent: bool) -> None:
    """The break at its end, as in a file, is left out; one inside is refused before anything is sent."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with chat_server(walk) as server:
        if not sent:
            with pytest.raises(ValueError, match="OPENAI_API_KEY has a line break") as refused:
                ChatClient(server.url)
            assert KEY not in str(refused.value)
            return
        ChatClient(server.url, retries=0).complete("tiny", [{"role": "user", "content": "hello"}])
        assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"
