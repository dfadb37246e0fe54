"""Run commands in parallel, each with its own log; a command that fails does not stop the others."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepopsd_envs.plain_file import plain_file

LOOK_EVERY_S = 0.1
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end that a scheduler asks for, and a terminal that was closed."""
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

    Ctrl-C, SIGTERM and SIGHUP are passed on to the running jobs. After the first of them no further job is
    started, and the running jobs are waited for. In a thread other than the main one signals are not heard.

    Args:
        jobs: jobs, started in this order.
        at_once: largest number of parallel processes.
        on_end: called with each job and its exit code when it ends; if it raises, the running jobs are ended.

    Raises:
        KeyboardInterrupt: one of these signals came; no job is running any more.
    """
    waiting, running, stopped = list(jobs), list[tuple[Job, subprocess.Popen[bytes]]](), False
    with _heard() as signals:
        try:
            while running or (waiting and not stopped):
                while waiting and not stopped and len(running) < at_once:
                    running.append((waiting[0], _begin(waiting[0])))
                    waiting.pop(0)
                time.sleep(LOOK_EVERY_S)
                while signals:
                    stopped, number = True, signals.pop(0)
                    for _, process in running:
                        process.send_signal(number)
                for job, process in [pair for pair in running if pair[1].poll() is not None]:
                    running.remove((job, process))
                    on_end(job, process.returncode)
        finally:
            for _, process in running:  # none, unless something failed
                process.terminate()
            for _, process in running:
                process.wait()
    if stopped:
        raise KeyboardInterrupt


@contextmanager
def _heard() -> Iterator[list[int]]:
    """The signals in `PASSED_ON` as they come; one that is ignored, as under ``nohup``, stays ignored.

    They are noted and do not raise: a process that just begins would be missed.
    """
    signals, before = list[int](), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda got, _: signals.append(got)) for number in heard}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending(code: int) -> str:
    """How a job ended, in words, from its exit code."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


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
