"""Commands that benchmarks run: so many side by side, all of them stopped when one fails or at Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.runs import commands
from tests.helpers.runs import ROOT, environment


def python(code: str) -> list[str]:
    """A command that runs a line of Python."""
    return [sys.executable, "-c", code]


def test_commands_prefix_the_lines_of_those_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """And they see no terminal to draw bars on."""
    code = "import os, sys; print(os.environ['TERM']); print(sys.stderr.isatty(), file=sys.stderr)"
    commands.together({"one": python(code), "two": python(code)})
    time.sleep(0.2)
    lines = sorted(capsys.readouterr().err.splitlines())
    assert lines == ["       one | False", "       one | dumb", "       two | False", "       two | dumb"]


def test_commands_run_two_at_a_time(tmp_path: Path) -> None:
    """Two meet, the third begins when one of them has ended, and all of them are waited for."""
    meets = (
        "import pathlib, time\n"
        "here, there = (pathlib.Path({folder!r}, name) for name in {names!r})\n"
        "here.touch()\n"
        "while not there.exists(): time.sleep(0.01)\n"
        "assert not pathlib.Path({folder!r}, 'third').exists()\n"
        "time.sleep({wait})"
    )
    first = meets.format(folder=str(tmp_path), names=("first", "second"), wait=0)
    second = meets.format(folder=str(tmp_path), names=("second", "first"), wait=0.5)
    third = f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'third').touch()"
    commands.together({"first": python(first), "second": python(second), "third": python(third)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_commands_end_when_one_fails(tmp_path: Path) -> None:
    """At once, by Ctrl-C, those that wait are not started, and the exit code is of the one that failed."""
    polite = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(1)"
    wrong = "import time; time.sleep(1); raise SystemExit(2)"
    waiting = f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'begun').touch()"
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        commands.together({"slow": python(polite), "wrong": python(wrong), "waiting": python(waiting)})
    assert ended.value.code == 2
    assert time.monotonic() - began < 30
    assert not (tmp_path / "begun").exists()


def test_commands_are_waited_for_at_ctrl_c(tmp_path: Path) -> None:
    """They get the signal, too, and have work to finish."""
    child = (
        "import pathlib, time\n"
        f"try: pathlib.Path({str(tmp_path)!r}, 'began').touch(); time.sleep(60)\n"
        f"except KeyboardInterrupt: time.sleep(0.5); pathlib.Path({str(tmp_path)!r}, 'kept').touch()"
    )
    code = (
        "from benchmarks.runs import commands\n"
        f"commands.together({{'a': [{sys.executable!r}, '-c', {child!r}]}})"
    )
    with subprocess.Popen(
        python(code), env=environment(), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(30)
    assert (tmp_path / "kept").exists()


def test_a_warm_start_is_made_again_until_it_was_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose evaluation was interrupted has no first row for the tables."""
    ran = list[list[str]]()
    monkeypatch.setattr(commands, "alone", ran.append)
    folder = tmp_path / "warmstart"
    for notes, runs in ((None, 1), ({}, 2), ({"evaluation": {}}, 2)):
        if notes is not None:
            folder.mkdir(exist_ok=True)
            (folder / "warmstart.json").write_text(json.dumps(notes))
        commands.warm_start(folder, "--seed", "0")
        assert len(ran) == runs
    assert ran[0][-4:] == ["--seed", "0", "--out", str(folder)]
