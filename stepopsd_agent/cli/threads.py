"""How many CPU threads a command takes: those asked for, as far as the process may use them."""

import math
import os
import sys
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Processor time of a container and the period that it is for, in microseconds; "max" without a limit."""


def allowed_threads() -> int:
    """`OMP_NUM_THREADS` where it is set, else the processors that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if given.isdigit() and int(given) > 0:
        return int(given)
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(count, _quota()))


def _quota() -> int:
    """Processors' worth of time that a container gets, rounded up; very many without a limit."""
    try:
        time, period = QUOTA.read_text(encoding="ascii").split()
        return math.ceil(int(time) / int(period))
    except (OSError, ValueError):
        return sys.maxsize


def use_threads(asked: int) -> int:
    """Set the threads of PyTorch to what was asked for, but no more than allowed; 0 asks for all of them.

    Returns:
        The number set.
    """
    allowed = allowed_threads()
    count = min(asked or allowed, allowed)
    if count < asked:
        print(
            f"stepopsd: notice: threads is {asked}, but this process may use {allowed}; more would wait for "
            f"each other, so it takes {count}",
            file=sys.stderr,
        )
    if asked or "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
    else:  # PyTorch reads it when it is imported, which commands without a model are spared
        os.environ["OMP_NUM_THREADS"] = str(count)
    return count
