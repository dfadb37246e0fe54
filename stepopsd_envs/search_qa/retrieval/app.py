"""The application of the retriever server: endpoints, limits, and refusals."""

import asyncio
import hmac
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.batching import Batcher, Overloaded
from stepopsd_envs.search_qa.retrieval.wire import (
    FINGERPRINT_HEADER,
    BadRequest,
    read_request,
    write_answer,
)


class TooLong(Exception):
    """The body of a request exceeds the limit."""


_FLAGS = {
    "body_bytes": "--max_body_mb",
    "queries": "--max_queries",
    "default_k": "--topk",
    "batch": "--max_batch",
}
"""Flags of the server that set a limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server.

    Attributes:
        body_bytes: greatest length of a request body, in bytes.
        queries: greatest number of queries in a request.
        k: greatest number of passages per query.
        default_k: number of passages per query if the request does not give it.
        batch: greatest number of queries in a call of the retriever; 1: one query at a time.
        waiting: greatest number of queries in the queue.
        body_s: greatest time until the body has arrived, in seconds.

    Raises:
        ValueError: a number is not positive, or ``default_k`` is above ``k``.
    """

    body_bytes: int = 1 << 23
    queries: int = 512
    k: int = 1000
    default_k: int = 3
    batch: int = 64
    waiting: int = 4096
    body_s: float = 30.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, flag = getattr(self, limit.name), _FLAGS.get(limit.name)
            if not value > 0:
                said = f" ({flag})" if flag else ""
                raise ValueError(f"{limit.name}{said} is {value}; give more than 0")
        if self.default_k > self.k:
            raise ValueError(f"default_k (--topk) is {self.default_k}; give at most {self.k}")


def make_app(retriever: Retriever, kind: str, limits: Limits, token: str = "", ready: str = "") -> Any:
    """Make the FastAPI application, which prints ``ready`` at the start and closes the retriever at the end.

    Args:
        retriever: the retriever to serve.
        kind: its kind, reported by ``/health``.
        limits: the limits.
        token: bearer token that clients must send; empty: none.
        ready: line to print at the start; empty: nothing.
    """
    from fastapi import FastAPI, Response

    batcher = Batcher(retriever, limits.batch, limits.waiting)
    health = json.dumps({"status": "ok", "retriever": kind, "fingerprint": retriever.fingerprint}).encode()
    headers = {FINGERPRINT_HEADER: retriever.fingerprint}

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        if ready:
            print(ready, flush=True)
        yield
        batcher.close()

    # Without the documentation pages, since they load scripts from other hosts.
    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)

    # The types of fastapi stay out of signatures: they are there only where it is installed.
    async def retrieve(request: Any) -> Any:
        if token and not hmac.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {token}".encode()
        ):
            return _refusal(401, "this server needs a bearer token")
        try:
            body = await asyncio.wait_for(_body(request, limits.body_bytes), limits.body_s)
            asked = read_request(body, limits.default_k, limits.k, limits.queries)
            answer = write_answer(await batcher.search(asked.queries, asked.k), asked.scores)
        except BadRequest as error:
            return _refusal(400, str(error))
        except TooLong:
            return _refusal(413, f"the body is longer than {limits.body_bytes} bytes; send fewer queries")
        except TimeoutError:
            return _refusal(408, f"the body did not arrive within {limits.body_s:.0f} s")
        except Overloaded as error:
            return _refusal(503, str(error))
        except Exception as error:
            return _failure(error)
        return Response(answer, headers=headers, media_type="application/json")

    async def say_health(request: Any) -> Any:
        return Response(health, media_type="application/json")

    # Plain routes: parsing and checking is done above, which is faster than FastAPI's.
    app.add_route("/retrieve", retrieve, methods=["POST"])
    app.add_route("/health", say_health, methods=["GET"])
    return app


async def _body(request: Any, most: int) -> bytes:
    """Read the body of a request, up to the limit; raise ``TooLong`` beyond it."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise TooLong
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise TooLong
        chunks.append(chunk)
    return b"".join(chunks)


def _refusal(status: int, why: str) -> Any:
    from fastapi.responses import JSONResponse

    return JSONResponse({"detail": why}, status)


def _failure(error: Exception) -> Any:
    """Log the error for the operator; tell the client only that the search failed."""
    print(f"serve-retriever: a search failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return _refusal(500, "the search failed; the server's log has the reason")
