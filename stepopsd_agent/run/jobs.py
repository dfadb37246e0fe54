"""Commands side by side, each with a log of its own: one that fails stops no other."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY_S = 0.1
LAST_LINES = 20
"""Lines of a log among which the reason of a failure is looked for."""


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: in messages.
        command: program and arguments.
        log: file that its output is added to.
        environment: variables to change.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]


def run_jobs(jobs: Sequence[Job], at_once: int, on_end: Callable[[Job, int], None]) -> None:
    """Run all of them, so many at once, the next as soon as one has ended.

    Ctrl-C is handed on to those that run, each time it is given, and they are waited for; no other is begun.

    Args:
        jobs: in the order in which they begin.
        at_once: how many processes.
        on_end: called with each job and its exit code, in the order in which they end.

    Raises:
        KeyboardInterrupt: Ctrl-C; all jobs that were begun have ended.
    """
    waiting, running, stopped = list(jobs), list[tuple[Job, subprocess.Popen[bytes]]](), False
    while running or (waiting and not stopped):
        try:
            while waiting and not stopped and len(running) < at_once:
                running.append((waiting[0], _begin(waiting[0])))
                waiting.pop(0)
            time.sleep(LOOK_EVERY_S)
        except KeyboardInterrupt:
            stopped = True
            for _, process in running:
                process.send_signal(signal.SIGINT)
        for job, process in [pair for pair in running if pair[1].poll() is not None]:
            running.remove((job, process))
            on_end(job, process.returncode)
    if stopped:
        raise KeyboardInterrupt


def _begin(job: Job) -> "subprocess.Popen[bytes]":
    job.log.parent.mkdir(parents=True, exist_ok=True)
    # Progress bars of several would overwrite each other; with a dumb terminal there are plain lines instead.
    environment = {**os.environ, "TERM": "dumb", **job.environment}
    with job.log.open("ab") as log:
        return subprocess.Popen(
            list(job.command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # the terminal's Ctrl-C would reach it beside the one that is handed on
        )


def last_words(log: Path) -> str:
    """The line of a log that tells why its command failed: its last error, else its last line."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2**16))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines[-LAST_LINES:] if line.startswith("stepopsd: error: ")]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("stepopsd: error: ")
