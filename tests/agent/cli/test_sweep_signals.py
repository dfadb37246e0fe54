"""Signals to ``stepopsd sweep``: its runs get them as well, and are waited for."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from stepopsd_agent.run.files import save_model
from tests.agent.cli.test_sweep import SHORT
from tests.helpers.command_line import run
from tests.helpers.launched import wait_until
from tests.helpers.models import tiny
from tests.helpers.runs import ROOT, environment

CHILD = """
import os, pathlib, signal, sys, time
here, wanted = pathlib.Path(sys.argv[1]), int(sys.argv[2])
def keep(number, frame):
    time.sleep(0.3)
    here.with_suffix(".kept").touch()
    sys.exit(3)
signal.signal(wanted, keep)
here.with_suffix(".began").write_text(str(os.getpid()))
time.sleep(60)
"""
PARENT = """
import pathlib, signal, sys
from stepopsd_agent.run import Job, run_jobs
folder, child, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
started = signal.default_int_handler if int(wanted) == signal.SIGINT else signal.SIG_DFL
signal.signal(int(wanted), started)  # also where the tests themselves run under nohup
jobs = [Job(n, [sys.executable, "-c", child, str(folder / n), wanted], folder / "log", {}) for n in "abc"]
try:
    run_jobs(jobs, 2, lambda job, code: print(job.name, code))
except KeyboardInterrupt:
    print("stopped")
"""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _commands() -> str:
    """The command lines of all processes there are."""
    found = ""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found += file.read_text(errors="replace")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whole_group", [True, False], ids=["from the terminal", "kill"])
def test_jobs_get_a_signal_and_are_waited_for(
    tmp_path: Path, number: signal.Signals, whole_group: bool
) -> None:
    """Those that run finish what they do; the others are not begun."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), CHILD, str(int(number))],
        env=environment(),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        began = [tmp_path / f"{name}.began" for name in "ab"]
        wait_until(lambda: all(file.exists() and file.read_text() for file in began))
        (os.killpg if whole_group else os.kill)(process.pid, number)
        said, _ = process.communicate(timeout=30)
    assert sorted(said.splitlines()) == ["a 3", "b 3", "stopped"]
    assert sorted(path.name for path in tmp_path.glob("*.kept")) == ["a.kept", "b.kept"]
    assert not any(_lives(int(file.read_text())) for file in began)
    assert not (tmp_path / "c.began").exists()


def test_jobs_ignore_a_signal_that_is_ignored(tmp_path: Path) -> None:
    """Under ``nohup`` a sweep outlives its terminal, and so do its runs."""
    child = [sys.executable, "-c", "import time; time.sleep(1)", str(tmp_path), "1"]
    code = (
        "import os, pathlib, signal, sys\n"
        "from stepopsd_agent.run import Job, run_jobs\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"jobs = [Job('a', {child!r}, pathlib.Path({str(tmp_path / 'log')!r}), {{}})]\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "run_jobs(jobs, 1, lambda job, code: (os.kill(os.getpid(), signal.SIGHUP), print(code)))\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_jobs_do_not_outlive_an_error(tmp_path: Path) -> None:
    """Of the caller's own, such as a message that cannot be printed."""
    code = (
        "import pathlib, sys\n"
        "from stepopsd_agent.run import Job, run_jobs\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "long = [sys.executable, '-c', 'import os, pathlib, sys, time; '\n"
        "        'pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)']\n"
        "wait = 'import pathlib, sys, time\\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(.05)'\n"
        "short = [sys.executable, '-c', wait]\n"
        "both = [[*command, str(folder / 'pid')] for command in (long, short)]\n"
        "jobs = [Job(str(n), command, folder / 'log', {}) for n, command in enumerate(both)]\n"
        "run_jobs(jobs, 2, lambda job, code: 1 / 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert not _lives(int((tmp_path / "pid").read_text()))


@pytest.mark.timeout(300)
def test_sweep_that_is_told_to_end_leaves_no_run_and_goes_on(tmp_path: Path) -> None:
    """SIGTERM, as a scheduler sends it; then every run is made to its end."""
    out = tmp_path / "out"
    save_model(tiny(), tmp_path / "model")
    settings = [*SHORT, "--updates=4", f"--model.path={tmp_path / 'model'}", f"--out={out}"]
    grid = ["--grid=learner.lr=1e-4,2e-4", "--seeds=1", "--jobs=2"]
    command = [sys.executable, "-m", "stepopsd_agent", "sweep", *settings, *grid]
    with subprocess.Popen(command, env=environment(), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: len(list(out.glob("runs/*/config.yaml"))) == 2)
            process.terminate()
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert said.count("ended by SIGTERM") == 2 and f"go on with: stepopsd sweep --resume {out}" in said
    assert str(out) not in _commands()
    assert run("sweep", f"--resume={out}") == 0
    assert len(list(out.glob("runs/*/summary.json"))) == 2
