"""Search-R1's wire format: what is sent, what is taken, what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stepopsd_envs.search_qa.corpus import passage_of
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.wire import (
    MAX_QUERY_CHARS,
    BadRequest,
    Request,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from tests.helpers.retrieval import SHELF


def asked(body: Any, default_k: int = 3, max_k: int = 10, max_queries: int = 4) -> Any:
    """A request, read with these limits."""
    return read_request(json.dumps(body).encode(), default_k, max_k, max_queries)


def test_request_is_search_r1s() -> None:
    """Word for word."""
    body = json.loads(write_request(["Who?", "Where?"], 5))
    assert body == {"queries": ["Who?", "Where?"], "topk": 5, "return_scores": True}


def test_request_has_search_r1s_defaults() -> None:
    """No number of passages, null or 0: the server's; no word on scores: without them."""
    for body in ({"queries": ["a"]}, {"queries": ["a"], "topk": None}, {"queries": ["a"], "topk": 0}):
        request = asked(body)
        assert (request.queries, request.k, request.scores) == (("a",), 3, False)


@pytest.mark.parametrize("k", ["1", " 1 ", 1.0, "1.0", True])
@pytest.mark.parametrize("scores", [True, "true", "True", 1, "1", 1.0, "yes", "on"])
def test_request_is_read_as_fastapi_would(k: object, scores: object) -> None:
    """Clients of Search-R1's server send numbers as text, too."""
    assert asked({"queries": ["a"], "topk": k, "return_scores": scores}) == Request(("a",), 1, True)
    for no in (False, "false", 0, "0", "off", None):
        assert not asked({"queries": ["a"], "topk": k, "return_scores": no}).scores


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "list of strings"),
        ({}, "list of strings"),
        ({"queries": "a"}, "list of strings"),
        ({"queries": [1]}, "list of strings"),
        ({"queries": ["a"] * 5}, "at most 4"),
        ({"queries": ["a"], "topk": 11}, "from 1 to 10"),
        ({"queries": ["a"], "topk": -1}, "from 1 to 10"),
        ({"queries": ["a"], "topk": "eleven"}, "'eleven'; give a number from 1 to 10"),
        ({"queries": ["a"], "topk": "11"}, "from 1 to 10"),
        ({"queries": ["a"], "topk": 2.5}, "from 1 to 10"),
        ({"queries": ["a"], "topk": [3]}, "from 1 to 10"),
        ({"queries": ["a"], "topk": float("inf")}, "from 1 to 10"),
        ({"queries": ["a"], "return_scores": 2}, "true or false"),
        ({"queries": ["a"], "return_scores": []}, "true or false"),
    ],
)
def test_bad_request_is_refused(body: Any, problem: str) -> None:
    """With what is allowed."""
    with pytest.raises(BadRequest, match=problem):
        asked(body)


def test_request_that_is_not_json_is_refused() -> None:
    """Nested without end, too."""
    for body in (b"", b"\xff", b"{", b"[" * 100_000):
        with pytest.raises(BadRequest, match="not JSON"):
            read_request(body, 3, 10, 4)


def test_answer_with_scores_is_search_r1s() -> None:
    """Documents have the two fields of its corpus."""
    answer = json.loads(write_answer([[Passage("p1", "Red Fox", "It lives.", 2.5)], []], scores=True))
    document = {"id": "p1", "contents": '"Red Fox"\nIt lives.'}
    assert answer == {"result": [[{"document": document, "score": 2.5}], []]}


def test_answer_without_scores_has_bare_documents() -> None:
    """As Search-R1's server sends them; they are read, too."""
    body = write_answer([SHELF[:2]], scores=False)
    assert json.loads(body)["result"][0][0] == {"id": "p1", "contents": f'"Red Fox"\n{SHELF[0].text}'}
    assert read_answer(body, 1, 5) == [list(SHELF[:2])]


def test_answer_of_other_servers_is_read() -> None:
    """Title and text apart, no ids, more passages than asked for."""
    document = {"title": "Red Fox", "text": "It lives.", "contents": "x"}
    (found,) = read_answer(
        json.dumps({"result": [[document, {"contents": '"a"\nb'}, {"contents": "c\nd"}]]}).encode(), 1, 2
    )
    assert [(p.title, p.text, p.score) for p in found] == [("Red Fox", "It lives.", 0.0), ("a", "b", 0.0)]
    assert found[0].id != found[1].id


@pytest.mark.parametrize("score", ["null", '"high"', "NaN", "1e999", "[1]", "{}"])
def test_score_that_is_none_fails_no_search(score: str) -> None:
    """It is not used; a number in quotes is one."""
    body = '{"result": [[{"document": {"id": null, "contents": "x"}, "score": %s}]]}'
    ((passage,),) = read_answer((body % score).encode(), 1, 3)
    assert (passage.text, passage.score) == ("x", 0.0)
    assert read_answer((body % '"1.5"').encode(), 1, 3)[0][0].score == 1.5


passages = st.builds(
    lambda name, title, text, score: Passage(*_fields(name, title, text), score),
    st.text(min_size=1).filter(str.strip),
    st.text(),
    st.text(),
    st.floats(allow_nan=False, allow_infinity=False),
)


def _fields(name: str, title: str, text: str) -> tuple[str, str, str]:
    passage = passage_of({"id": name, "title": title, "text": text})
    return passage.id, passage.title, passage.text


@given(st.lists(st.lists(passages, max_size=3), max_size=3))
def test_answer_arrives_as_it_was_sent(found: list[list[Passage]]) -> None:
    """Hostile characters and all."""
    assert read_answer(write_answer(found, scores=True), len(found), 3) == found


@given(st.lists(st.text(), max_size=4))
def test_request_arrives_as_it_was_sent(queries: list[str]) -> None:
    """But for halves of characters."""
    got = read_request(write_request(queries, 2), 3, 10, 4).queries
    assert list(got) == [q.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for q in queries]


def test_only_the_beginning_of_a_long_query_is_sent() -> None:
    """10 MB of query cannot make a request of 10 MB."""
    assert len(write_request(["word " * 2_000_000], 3)) < 2 * MAX_QUERY_CHARS
    assert len(asked({"queries": ["word " * 10_000]}).queries[0]) == MAX_QUERY_CHARS


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>busy</html>", "not JSON"),
        (b"\xff\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no "result"'),
        (b"{}", 'no "result"'),
        (b'{"result": {}}', 'no "result"'),
        (b'{"result": [{}, {}]}', 'no "result"'),
        (b'{"result": [[]]}', "1 lists for 2 queries"),
        (b'{"result": [[3], []]}', "a result must be an object"),
        (b'{"result": [[{"document": 3}], []]}', "a passage must be a JSON object"),
        (b'{"result": [[{"document": {"id": "a"}}], []]}', "the keys are 'id'; give 'title' and 'text', or"),
    ],
)
def test_answer_that_is_none_is_an_error(body: bytes, problem: str) -> None:
    """It is never taken for an empty answer."""
    with pytest.raises(ValueError, match=problem):
        read_answer(body, 2, 3)
