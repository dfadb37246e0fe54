"""Whether `torchrun` or `accelerate launch` started this command, several times at once."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from stepopsd_agent.cli.parser import complain

_TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables by which a launcher tells a process its place."""
SHARED = frozenset({"train"})
"""Commands whose work several processes can share."""

FIRST_SPEAKS_S = 10.0
"""Seconds that a process waits with a bad end: at the first one the launcher ends the others, unheard."""


def launched() -> bool:
    """Whether a launcher started this process."""
    return all(name in os.environ for name in _TOLD)


def follows() -> bool:
    """Whether another process of the launcher prints for this one."""
    return launched() and os.environ["RANK"] != "0"


def own_device(device: str) -> str:
    """The device of this process: of several with "cuda", the GPU with its number on its machine."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device.startswith("cuda") else device


@contextmanager
def said_once() -> Iterator[None]:
    """Let one process of a launcher print what all of them find, such as a bad flag."""
    if not follows():
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    except SystemExit as ended:
        if ended.code:
            time.sleep(FIRST_SPEAKS_S)
        raise


def check_shared(command: str) -> None:
    """Refuse several processes for a command that would do its work once in each.

    Raises:
        SystemExit: after one line.
    """
    if launched() and os.environ["WORLD_SIZE"] != "1" and command not in SHARED:
        raise SystemExit(
            complain(
                f"{command} works in one process, but a launcher started {os.environ['WORLD_SIZE']}; run it "
                "without torchrun or accelerate launch, which are for: " + ", ".join(sorted(SHARED))
            )
        )
