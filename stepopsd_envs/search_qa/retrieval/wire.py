"""The wire format between client and retriever server: that of Search-R1's ``/retrieve``.

A request is ``{"queries": [...], "topk": 3, "return_scores": true}``, an answer ``{"result": [[...], ...]}``
with one list per query. The entries are ``{"document": {"id": ..., "contents": ...}, "score": ...}``, or bare
documents if no scores were requested.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from stepopsd_envs.search_qa.corpus import contents, encodable, passage_of
from stepopsd_envs.search_qa.json_lines import ID_KEYS
from stepopsd_envs.search_qa.retrieval.base import Passage

MAX_QUERY_CHARS = 2048
FINGERPRINT_HEADER = "stepopsd-fingerprint"
YES = frozenset({"true", "t", "yes", "y", "on", "1"})
NO = frozenset({"false", "f", "no", "n", "off", "0", "none"})
READY, WORKING = "ready", "working"  # first words of the lines that a starting server prints
TOKEN_VARIABLE = "STEPOPSD_RETRIEVER_TOKEN"


class BadRequest(ValueError):
    """The request is malformed or exceeds a limit; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request."""

    queries: tuple[str, ...]
    k: int
    scores: bool


def searchable(query: str) -> str:
    """The part of a query that is used: its first 2,048 characters, without lone surrogates."""
    return encodable(query[:MAX_QUERY_CHARS])


def write_request(queries: Sequence[str], k: int) -> bytes:
    """Encode the body of a request."""
    asked = {"queries": [searchable(query) for query in queries], "topk": k, "return_scores": True}
    return json.dumps(asked).encode("ascii")


def read_request(body: bytes, default_k: int, max_k: int, max_queries: int) -> Request:
    """Decode and check the body of a request; as lenient as Search-R1's server: ``"topk": "3"`` is 3.

    Args:
        body: the body.
        default_k: passages per query if the request does not give ``topk``.
        max_k: greatest ``topk``.
        max_queries: greatest number of queries.

    Raises:
        BadRequest: the body is malformed or exceeds a limit.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    queries = asked.get("queries") if isinstance(asked, dict) else None
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        got = f"{queries!r:.80}" if isinstance(asked, dict) and queries is not None else f"{asked!r:.80}"
        raise BadRequest(f'got {got}; give an object with "queries", a list of strings')
    if len(queries) > max_queries:
        raise BadRequest(f"{len(queries)} queries; send at most {max_queries} in a request")
    k = _whole_number(asked.get("topk")) or default_k  # 0 and null: the default, as in Search-R1's server
    if not 1 <= k <= max_k:
        raise BadRequest(f'"topk" is {asked["topk"]!r:.40}; give a number from 1 to {max_k}')
    scores = str(asked.get("return_scores")).strip().lower().removesuffix(".0")
    if scores not in YES | NO:
        raise BadRequest(f'"return_scores" is {asked["return_scores"]!r:.40}; give true or false')
    return Request(tuple(map(searchable, queries)), k, scores in YES)


def _whole_number(value: Any) -> int:
    """A number, also one written as text or with a fraction of zero; null is 0, anything else -1."""
    if value is None:
        return 0
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return -1
    return int(number) if number.is_integer() else -1


def write_answer(results: Sequence[Sequence[Passage]], scores: bool) -> bytes:
    """Encode the body of an answer."""
    result = [[_scored(p) if scores else _document(p) for p in passages] for passages in results]
    return json.dumps({"result": result}).encode("ascii")


def read_answer(body: bytes, queries: int, k: int) -> list[list[Passage]]:
    """Decode the body of an answer: at most ``k`` passages for each query.

    Raises:
        ValueError: the body is malformed, or does not have ``queries`` lists.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON: {body[:80]!r}") from error
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, list) or not all(isinstance(items, list) for items in result):
        raise ValueError(f'the answer has no "result" that is a list of lists: {body[:80]!r}')
    if len(result) != queries:
        raise ValueError(f"the answer has {len(result)} lists for {queries} queries")
    return [[_passage(item) for item in items[:k]] for items in result]


def _document(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "contents": contents(passage)}


def _scored(passage: Passage) -> dict[str, Any]:
    return {"document": _document(passage), "score": passage.score}


def _passage(item: Any) -> Passage:
    if not isinstance(item, dict):
        raise ValueError(f"a result must be an object, got {item!r:.60}")
    document = item.get("document", item)
    if isinstance(document, dict) and all(document.get(key) is None for key in ID_KEYS):  # as some servers
        text = json.dumps(document, sort_keys=True)
        document = {**document, "id": blake2b(text.encode("ascii"), digest_size=8).hexdigest()}
    return replace(passage_of(document), score=_score(item.get("score")))


def _score(value: Any) -> float:
    """The score, or 0.0 if it is not a number; the order of the passages gives their ranks."""
    try:
        score = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return score if math.isfinite(score) else 0.0
