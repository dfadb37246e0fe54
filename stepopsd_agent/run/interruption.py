"""Ctrl-C: the running update is finished first, so that a checkpoint can follow."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch.distributed as dist


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let the running update finish on the first Ctrl-C; the second one raises KeyboardInterrupt at once.

    Only the main thread can be told of a Ctrl-C; in another one nothing changes.
    """
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if not dist.is_initialized() or dist.get_rank() == 0:  # a launcher tells all its processes
            # Not print: it may be printing that was interrupted, and a stream cannot be entered twice.
            os.write(2, b"\nfinishing the running update; Ctrl-C again stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
