"""A server for one retriever, in Search-R1's wire format: ``POST /retrieve`` and ``GET /health``.

``python -m stepopsd_envs.search_qa.retrieval.server INDEX`` (or ``stepopsd serve-retriever``) prints a line
that begins with ``ready`` and the address once it accepts requests, and ends cleanly at SIGINT and SIGTERM.
By default it listens only on this machine. If ``STEPOPSD_RETRIEVER_TOKEN`` is set in its environment, it
answers only requests with this bearer token. Requests are not logged. It needs the extra ``search``.
"""

import argparse
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.bearer import bearer_secret
from stepopsd_envs.extras import install_command
from stepopsd_envs.search_qa.retrieval.app import Limits, make_app
from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.index import cached_index, open_index, require_corpus
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS, read_manifest
from stepopsd_envs.search_qa.retrieval.index_settings import Means
from stepopsd_envs.search_qa.retrieval.wire import READY, TOKEN_VARIABLE, WORKING
from stepopsd_envs.user_path import user_path

LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEEP_ALIVE_S, STOP_S, MOST_CONNECTIONS = 75, 5, 1024


def serve(retriever: Retriever, kind: str, host: str, port: int, limits: Limits, token: str) -> None:
    """Serve until SIGINT or SIGTERM; then finish the pending requests and close the retriever.

    Args:
        retriever: the retriever.
        kind: its kind, for messages.
        host: address to listen on.
        port: port; 0 takes a free port, which the ready line shows.
        limits: limits of requests.
        token: bearer token that clients must send; empty: none.

    Raises:
        OSError: the address cannot be used.
    """
    import uvicorn

    with _listening(host, port) as listening:
        address = f"[{host}]" if ":" in host else host
        ready = f"{READY} http://{address}:{listening.getsockname()[1]} {kind} {retriever.fingerprint}"
        app = make_app(retriever, kind, limits, token, ready)
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
            limit_concurrency=MOST_CONNECTIONS,
            server_header=False,
            date_header=False,
        )
        # uvicorn raises the signal again after stopping, which would end the process with an error code.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore)
        uvicorn.Server(config).run(sockets=[listening])


def add_arguments(parser: Any) -> None:
    """Add the flags of the server, for this module's command line and for ``stepopsd serve-retriever``."""
    standard = Limits()
    parser.add_argument("source", type=str, metavar="INDEX", help="index folder, or a corpus file to index")
    parser.add_argument(
        "--kind",
        default=None,
        choices=list(KINDS),
        help="kind of index to build from a corpus file (default: bm25)",
    )
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="port; 0 takes a free port, which the ready line shows"
    )
    parser.add_argument(
        "--topk",
        type=int,
        default=standard.default_k,
        help="passages per query if the request does not give topk",
    )
    parser.add_argument(
        "--max_batch", type=int, default=standard.batch, help="greatest number of queries in a batch"
    )
    parser.add_argument(
        "--max_queries", type=int, default=standard.queries, help="greatest number of queries in a request"
    )
    parser.add_argument(
        "--max_body_mb", type=float, default=standard.body_bytes / 2**20, help="greatest length of a request"
    )
    parser.add_argument(
        "--threads", type=int, default=None, help="threads to use (default: all that it may use)"
    )
    parser.add_argument(
        "--device",
        type=str,
        default=None,
        help="device for a dense index, such as cuda, where the search is in half precision",
    )
    parser.add_argument(
        "--model",
        type=str,
        default=None,
        help="folder or name of a dense index's model, if it has moved",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Open the index and serve it; return the exit code, 2 if it cannot be served."""
    parser = argparse.ArgumentParser(description="Serve a retriever in Search-R1's wire format.")
    add_arguments(parser)
    parser.add_argument(
        "--stop_with_stdin",
        action="store_true",
        help="stop when standard input is closed, as happens when the parent process ends",
    )
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)  # like SIGINT, so that cleanup code runs
    if arguments.stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    try:
        return _run(arguments)
    except (DependencyNotInstalled, ValueError, OSError) as error:
        print(f"serve-retriever: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _run(arguments: argparse.Namespace) -> int:
    _require_packages()
    limits = _limits(arguments)
    token = bearer_secret(TOKEN_VARIABLE)
    if arguments.host not in LOOPBACK and not token:
        print(
            f"serve-retriever: warning: everyone who can reach {arguments.host} can search; set "
            f"{TOKEN_VARIABLE} to require a token",
            file=sys.stderr,
        )
    means = Means(arguments.threads, arguments.device, arguments.model)
    folder = _index_of(user_path(arguments.source), arguments.kind, means)
    kind = read_manifest(folder, arguments.kind).kind
    if kind in ("dense", "hybrid"):
        _use_threads(means.cores)
    serve(open_index(folder, kind, means), kind, arguments.host, arguments.port, limits, token)
    return 0


def _limits(arguments: argparse.Namespace) -> Limits:
    """The limits that the flags set; also refuses a port that is none, before anything is indexed."""
    if not 0 <= arguments.port <= 65535:
        raise ValueError(f"--port is {arguments.port}; give 0 to 65535")
    if not math.isfinite(arguments.max_body_mb):
        raise ValueError(f"--max_body_mb is {arguments.max_body_mb}; give a number of megabytes")
    size = math.ceil(arguments.max_body_mb * 2**20)
    return Limits(size, arguments.max_queries, default_k=arguments.topk, batch=arguments.max_batch)


def _index_of(source: Path, kind: str | None, means: Means) -> Path:
    """The index folder: ``source`` itself, or the cached index of a corpus file."""
    if require_corpus(source).is_dir():
        return source
    done: dict[str, int] = {}

    def report(what: str, count: int, total: int | None) -> None:
        done[what] = done.get(what, 0) + count
        print(f"{WORKING} {what} {done[what]}{f'/{total}' if total else ''}", flush=True)

    return cached_index(source, kind or "bm25", means, report)


def _require_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise DependencyNotInstalled(
            f"the server needs fastapi and uvicorn: {install_command('search')}"
        ) from error


def _use_threads(count: int) -> None:
    import torch

    from stepopsd_envs.search_qa.retrieval.vectors import set_threads

    torch.set_num_threads(count)
    set_threads(count)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio recognises TCP by the protocol number and sets TCP_NODELAY; else each answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise OSError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --port"
        ) from error
    return listening


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _stop_with_stdin() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held at the end of the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
