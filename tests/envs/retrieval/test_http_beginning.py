"""What the HTTP retriever needs before its first search: the token, and the server's fingerprint."""

import pytest

from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience
from tests.helpers.retrieval import finds, says, scripted

PATIENCE = Patience(attempt_s=1.0, search_s=5.0)


def ids(client: HttpRetriever) -> list[list[str]]:
    """What is found."""
    return [[passage.id for passage in one] for one in client.search(["q"], 3)]


@pytest.mark.parametrize("end", ["\n", " \r\n"])
def test_token_is_sent_without_the_line_break_of_its_file(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """One with a break inside is refused, without a word of it: records quote errors."""
    monkeypatch.setenv("STEPOPSD_RETRIEVER_TOKEN", f"s3cret{end}")
    with scripted(finds("a")) as server:
        assert ids(HttpRetriever(server.url)) == [["a"]]
        assert b"Authorization: Bearer s3cret\r\n" in server.requests[0]
        monkeypatch.setenv("STEPOPSD_RETRIEVER_TOKEN", f"s3cret{end}s3cret")
        with pytest.raises(ValueError, match="TOKEN has a line break") as refused:
            HttpRetriever(server.url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "502 Bad Gateway", "429 Too Many Requests"])
def test_fingerprint_of_a_busy_server_is_asked_again(status: str) -> None:
    """Else records would call it unknown, and its first answer would seem to be of another retriever."""
    good = says({"status": "ok", "fingerprint": "f1"})
    health = iter([says(b"starting", status)])
    with scripted(
        finds("a", headers="stepopsd-fingerprint: f1\r\n"),
        health=lambda connection, request: next(health, good)(connection, request),
    ) as server:
        client = HttpRetriever(server.url, "", PATIENCE)
        assert client.fingerprint == "f1"
        assert ids(client) == [["a"]]
