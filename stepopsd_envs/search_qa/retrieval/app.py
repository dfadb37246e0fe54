"""What the retriever server answers: the application, its limits, and how it refuses."""

import asyncio
import hmac
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
    """The body of a request is longer than allowed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes:
        body_bytes: length of its body.
        queries: in one request.
        k: passages per query.
        default_k: for a request that does not say.
        batch: queries that the retriever gets at a time; 1 answers one after the other.
        waiting: queries that may wait.
        body_s: until the body has arrived.
    """

    body_bytes: int = 1 << 23
    queries: int = 512
    k: int = 1000
    default_k: int = 3
    batch: int = 64
    waiting: int = 4096
    body_s: float = 30.0


def make_app(retriever: Retriever, kind: str, limits: Limits, token: str = "", ready: str = "") -> Any:
    """The FastAPI application. It prints ``ready`` when it starts and closes the retriever when it stops."""
    from fastapi import FastAPI, Request, Response

    batcher = Batcher(retriever, limits.batch, limits.waiting)
    health = json.dumps({"status": "ok", "retriever": kind, "fingerprint": retriever.fingerprint}).encode()
    headers = {FINGERPRINT_HEADER: retriever.fingerprint}

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        if ready:
            print(ready, flush=True)
        yield
        batcher.close()

    # Without the pages that describe the interface: they load scripts from elsewhere.
    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)

    async def retrieve(request: Request) -> Response:
        if token and not hmac.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {token}".encode()
        ):
            return _refusal(401, "this server wants a bearer token")
        try:
            body = await asyncio.wait_for(_body(request, limits.body_bytes), limits.body_s)
            asked = read_request(body, limits.default_k, limits.k, limits.queries)
            found = await batcher.search(asked.queries, asked.k)
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
        return Response(write_answer(found, asked.scores), headers=headers, media_type="application/json")

    async def say_health(request: Request) -> Response:
        return Response(health, media_type="application/json")

    # Plain routes: what FastAPI adds to others (reading and checking of arguments) is done here, and faster.
    app.add_route("/retrieve", retrieve, methods=["POST"])
    app.add_route("/health", say_health, methods=["GET"])
    return app


async def _body(request: Any, most: int) -> bytes:
    """The body of a request, not read further than allowed."""
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
    """Tell the operator what went wrong, and the client that something did."""
    print(f"serve-retriever: a search failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return _refusal(500, "the search failed; the server's log has the reason")
