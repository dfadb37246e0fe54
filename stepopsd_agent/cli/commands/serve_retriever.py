"""``stepopsd serve-retriever``."""

import os
import sys
from typing import NoReturn

from jsonargparse import Namespace

from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.search_qa.retrieval.server import add_arguments

HELP = "answer searches over HTTP, as Search-R1's server does"
USES: frozenset[str] = frozenset()
SERVER = "stepopsd_envs.search_qa.retrieval.server"


def add_flags(parser: Parser) -> None:
    """The index, and where it is served."""
    parser.usage = "stepopsd serve-retriever INDEX [--host ADDRESS] [--port NUMBER] [...]"
    add_arguments(parser)


def run(settings: Namespace) -> NoReturn:
    """Become the server: it needs none of what this process has loaded, and hears signals itself."""
    flags = [word for name, value in settings.items() if name != "source" for word in _flag(name, value)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", SERVER, settings.source, *flags])


def _flag(name: str, value: object) -> tuple[str, ...]:
    return () if value is None else (f"--{name}={value}",)
