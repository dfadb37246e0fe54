"""How many processors and threads this process may use."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
"""Control groups of this process, a line each: number, controllers, path; the second version has number 0."""
LIMITS = Path("/sys/fs/cgroup")
"""Where the groups' limits are mounted; in a container its own group is often the root of what it sees."""


def allowed_processors() -> int:
    """Processors that this process may use: its affinity, and the share of time that its container gets."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(count, *map(math.ceil, _quotas()), sys.maxsize))


def allowed_threads() -> int:
    """`OMP_NUM_THREADS` where it is set, but no more than the processors that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    processors = allowed_processors()
    return min(int(given), processors) if given.isdigit() and int(given) > 0 else processors


def _quotas() -> Iterator[float]:
    """Processors' worth of time that the groups of this process get; nothing for a group without a limit."""
    try:
        lines = GROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    places = {(LIMITS, "/")}
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            places |= {(LIMITS, path), (LIMITS / "unified", path)}  # the latter beside the first version
        elif "cpu" in controllers.split(","):  # "cpu,cpuacct" is one folder, and "cpu" often a link to it
            places |= {(LIMITS / name, inside) for name in ("cpu", controllers) for inside in (path, "/")}
    for root, path in places:
        folder = root / path.strip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(root):
                yield from _quota(group)


def _quota(group: Path) -> Iterator[float]:
    """The limit of a group, of the second version of control groups or the first."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            text = " ".join((group / name).read_text(encoding="ascii") for name in names)
            time, period = map(int, text.split())  # "max" of the second version is no number
        except (OSError, ValueError):
            continue
        if time > 0 and period > 0:  # -1 of the first version is no limit
            yield time / period
