"""Progress in a log: few lines, with rate and time left, and none on standard output."""

import io
import sys

import pytest

from stepopsd_agent.run import progress
from stepopsd_agent.run.display import PlainProgress, duration, pace


class Clock:
    """A clock that tests move by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_duration_reads_as_people_say_it() -> None:
    """Seconds, minutes and hours, rounded to what matters."""
    assert [duration(s) for s in (0.4, 59.4, 59.6, 185, 7800)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 05 s",
        "2 h 10 min",
    ]


def test_pace_tells_rate_and_time_left() -> None:
    """Fast work per second, slow work per unit; nothing before the first unit."""
    assert pace(0, 10, 1.0, "game") == ""
    assert pace(1000, None, 1e-5, "passage") == pace(1000, 10, 0.9, "passage") == ""
    assert pace(20_000, None, 10.0, "passage") == "2,000.0 passage/s"
    assert pace(20, 10, 10.0, "game") == "2.0 game/s, 5 s left"
    assert pace(2, 10, 24.0, "update") == "12.0 s/update, 2 min 00 s left"
    assert pace(2, None, 24.0, "update") == "12.0 s/update"


def test_pace_waits_for_as_many_units_as_run_side_by_side() -> None:
    """64 games of 60 s that run at once: the first to finish promised 60 s for each of the 99 others."""
    assert pace(1, 99, 60.0, "game", at_once=64) == pace(63, 37, 62.0, "game", at_once=64) == ""
    assert pace(64, 36, 64.0, "game", at_once=64) == "1.0 game/s, 36 s left"


def test_plain_progress_of_units_side_by_side_estimates_late_and_counts_from_a_continued_run() -> None:
    """What an earlier sitting finished is none of the units that this one plays at once."""
    stream, clock = io.StringIO(), Clock()
    plain = PlainProgress(20, "playing", "episode", 10, stream, clock, at_once=4)
    for now, count in ((20.0, 1), (40.0, 3), (60.0, 6)):
        clock.now = now
        plain.advance(count)
    assert stream.getvalue().splitlines() == [
        "playing: 11/20",
        "playing: 14/20, 10.0 s/episode, 1 min 00 s left",
        "playing: 20/20, took 1 min 00 s",
    ]


def test_plain_progress_prints_a_line_now_and_then() -> None:
    """First unit, every fifteen seconds, last unit: not a line per unit."""
    stream, clock = io.StringIO(), Clock()
    plain = PlainProgress(100, "training", "update", 0, stream, clock)
    for step in range(100):
        clock.now = step + 1.0
        plain.advance(note=f"success {step} %")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8  # at 1, 16, 31, 46, 61, 76, 91 and 100 seconds
    assert lines[1] == "training: 16/100, 1.0 update/s, 1 min 24 s left, success 15 %"
    assert lines[-1] == "training: 100/100, took 1 min 40 s, success 99 %"


def test_plain_progress_of_a_continued_run_counts_its_own_rate() -> None:
    """Units done before the start do not make it look fast."""
    stream, clock = io.StringIO(), Clock()
    plain = PlainProgress(20, "training", "update", 10, stream, clock)
    clock.now = 4.0
    plain.advance(2)
    assert stream.getvalue() == "training: 12/20, 2.0 s/update, 16 s left\n"


def test_progress_without_terminal_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines go to standard error."""
    with progress(2, "work") as bar:
        bar.advance()
        print("result")
        bar.say("half")
        bar.advance()
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert [line.partition(",")[0] for line in err.splitlines()] == ["work: 1/2", "half", "work: 2/2"]


def test_progress_on_a_terminal_nests_and_keeps_results_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation inside a training shows two bars; only what is printed is standard output."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress(3, "training", unit="update", completed=1) as outer:
        outer.advance(note="[success] 10 %")
        with progress(2, "evaluating") as inner:
            inner.advance(2)
            print("result")
        outer.advance()
    shown = terminal.getvalue()
    assert all(text in shown for text in ("training", "evaluating", "3/3", "2/2", "[success] 10 %"))
    assert capsys.readouterr().out == "result\n"


def test_plain_progress_says_the_last_line_once() -> None:
    """Work that reports nothing more at its end does not print the line of its end again."""
    stream, clock = io.StringIO(), Clock()
    plain = PlainProgress(4, "indexing", "passage", 0, stream, clock)
    for count in (0, 4, 0):
        plain.advance(count)
    assert stream.getvalue() == "indexing: 0/4\nindexing: 4/4, took 0 s\n"


@pytest.mark.parametrize("total", [None, 100])
def test_progress_ends_with_what_there_was(total: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the number of units was not known, or was the most there could be."""
    with progress(total, "playing", unit="game") as bar:
        for _ in range(5):
            bar.advance()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("playing: 1") and last == "playing: 5/5, took 0 s"
