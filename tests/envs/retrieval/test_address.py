"""What an HTTP retriever can be told: addresses and times."""

import pytest

from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience
from tests.helpers.retrieval import finds, scripted


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host/?q=1", "http://host:99999", "http://[::1"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    """When the retriever is made, not at the first search."""
    with pytest.raises(ValueError):
        HttpRetriever(url)


def test_address_with_a_password_is_refused() -> None:
    """It would stand in messages and records."""
    with pytest.raises(ValueError, match="STEPOPSD_RETRIEVER_TOKEN") as error:
        HttpRetriever("http://me:secret@host")
    assert "secret" not in str(error.value)


def test_addresses_may_have_a_path() -> None:
    """With or without the last part."""
    for path in ("", "/", "/retrieve", "/wiki/retrieve"):
        with scripted(finds("a")) as server:
            HttpRetriever(server.url + path).search(["q"], 3)
            wanted = b"POST /wiki/retrieve " if "wiki" in path else b"POST /retrieve "
            assert server.requests[0].startswith(wanted)


@pytest.mark.parametrize("times", [(0, 1), (-1, 1), (2, 1)])
def test_patience_must_make_sense(times: tuple[float, float]) -> None:
    """An attempt cannot be longer than the search it is part of."""
    with pytest.raises(ValueError, match="give times above 0"):
        Patience(*times)
