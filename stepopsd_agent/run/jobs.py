"""Run commands in parallel, each with its own log; a command that fails does not stop the others."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepopsd_envs.plain_file import plain_file

LOOK_EVERY_S = 0.1
LAST_LINES = 20
"""Lines at the end of a log that are searched for the reason of a failure."""


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        name: name in messages.
        command: program and arguments.
        log: file to which stdout and stderr are appended.
        environment: variables to set in addition to those of this process.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]


def run_jobs(jobs: Sequence[Job], at_once: int, on_end: Callable[[Job, int], None]) -> None:
    """Run all jobs, at most `at_once` of them in parallel.

    Every Ctrl-C is passed on to the running jobs. After the first one no further job is started, and the
    running jobs are waited for.

    Args:
        jobs: jobs, started in this order.
        at_once: largest number of parallel processes.
        on_end: called with each job and its exit code when it ends.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; no job is running any more.
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
    # A dumb terminal gets plain lines of progress, which a log can hold, instead of a bar.
    environment = {**os.environ, "TERM": "dumb", **job.environment}
    with plain_file(job.log, missing_ok=True).open("ab") as log:
        return subprocess.Popen(
            list(job.command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # else the terminal would send it Ctrl-C a second time
        )


def last_words(log: Path) -> str:
    """Return the line of a log that says why its command failed: its last error, else its last line."""
    with plain_file(log).open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2**16))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines[-LAST_LINES:] if line.startswith("stepopsd: error: ")]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("stepopsd: error: ")
