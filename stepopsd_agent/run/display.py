"""Progress of long work: a bar with rate and time left on a terminal, a plain line now and then in a log.

Written to standard error, so that what a command prints as its result stays clean. Bars may be nested.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bar,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

SHORTEST_S = 1.0  # time from which a rate is measured
LINE_EVERY_S = 15.0  # between two plain lines: rare enough for a log, often enough to see that work goes on


class Progress(Protocol):
    """The object that `progress` yields."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished units; `note` says how things stand and stays until the next one."""

    def say(self, text: str) -> None:
        """Print a separate line without tearing the bar."""


def duration(seconds: float) -> str:
    """Write a time span as people say it: "42 s", "3 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def pace(done: float, left: float | None, elapsed: float, unit: str, at_once: int = 1) -> str:
    """Write rate and time left, from the mean rate so far; empty before any unit and in the first second.

    The first units come out of a buffer: their rate would be millions a second. Of `at_once` units that run
    side by side the first to finish had all the time for itself, so before as many have finished there is no
    rate: it would be too low by up to that factor.
    """
    if done < at_once or elapsed < SHORTEST_S:
        return ""
    # Slow work reads better as a time per unit than as 0.03 per second.
    rate = f"{done / elapsed:,.1f} {unit}/s" if done >= elapsed else f"{elapsed / done:.1f} s/{unit}"
    return rate if left is None else f"{rate}, {duration(left * elapsed / done)} left"


class _PaceColumn(ProgressColumn):
    """Rate and time left of a bar that began with `completed` units done; `at_once` run side by side."""

    def __init__(self, unit: str, completed: int, at_once: int) -> None:
        super().__init__()
        self._unit, self._completed, self._at_once = unit, completed, at_once

    def render(self, task: Task) -> Text:
        done = task.completed - self._completed
        said = pace(done, task.remaining, task.elapsed or 0.0, self._unit, self._at_once)
        return Text(said, style="progress.remaining")


class _BarProgress:
    """Progress on a terminal."""

    def __init__(self, bar: Bar, total: int | None, description: str, completed: int) -> None:
        self._bar = bar
        self._task = bar.add_task(description, total=total, completed=completed, note="")

    def advance(self, count: int = 1, note: str = "") -> None:
        if note:
            self._bar.update(self._task, note=note)
        self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


class PlainProgress:
    """Progress in a log: a line at the first unit, every `LINE_EVERY_S` seconds, and at the last, once."""

    def __init__(
        self,
        total: int | None,
        description: str,
        unit: str,
        completed: int,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        at_once: int = 1,
    ) -> None:
        self._total, self._description, self._unit, self._at_once = total, description, unit, at_once
        self._before = self._done = completed
        self._stream, self._clock = stream, clock
        self._start = clock()
        self._last_line: float | None = None
        self._shown: int | None = None  # units done, in the last line
        self._note = ""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished units."""
        self._done += count
        self._note = note or self._note
        now = self._clock()
        due = self._last_line is None or now - self._last_line >= LINE_EVERY_S
        if due or (self._done == self._total and self._shown != self._done):
            self._last_line, self._shown = now, self._done
            self.say(self._line(now - self._start))

    def finish(self) -> None:
        """Say how many units there were where that was not known, or fewer than the most there could be."""
        if self._shown is not None and self._done != self._total:
            self._total = self._done
            self.say(self._line(self._clock() - self._start))

    def _line(self, elapsed: float) -> str:
        count = str(self._done) if self._total is None else f"{self._done}/{self._total}"
        left = None if self._total is None else self._total - self._done
        speed = pace(self._done - self._before, left, elapsed, self._unit, self._at_once)
        parts = (
            f"{self._description}: {count}",
            f"took {duration(elapsed)}" if left == 0 else speed,
            self._note,
        )
        return ", ".join(part for part in parts if part)

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stream, flush=True)


@cache
def _console() -> Console:
    """One console for all bars: only bars of one console can be nested."""
    return Console(stderr=True)


@contextmanager
def progress(
    total: int | None, description: str, *, unit: str = "it", completed: int = 0, at_once: int = 1
) -> Iterator[Progress]:
    """Show the progress of the work inside the `with`.

    Args:
        total: Units of work; None when not known, which leaves out the time left.
        description: What is being done, as in "training".
        unit: What one unit is, as in "update".
        completed: Units done before, by a run that is continued; the rate leaves them out.
        at_once: Units that run side by side; before as many have finished there is no rate.

    Yields:
        An object with `advance(count=1, note="")` and `say(text)`.
    """
    if not sys.stderr.isatty() or _console().is_dumb_terminal:
        lines = PlainProgress(total, description, unit, completed, sys.stderr, at_once=at_once)
        yield lines
        lines.finish()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _PaceColumn(unit, completed, at_once),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # What a command prints as its result must not end up on standard error with the bar.
    with Bar(*columns, console=_console(), redirect_stdout=sys.stdout.isatty()) as bar:
        yield _BarProgress(bar, total, description, completed)
