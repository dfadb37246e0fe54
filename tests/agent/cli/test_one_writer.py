"""One command at a time writes to a folder; a second one leaves everything as it is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.cli.commands import sweep, train
from stepopsd_agent.cli.common import trained_policy
from stepopsd_agent.cli.output_paths import LOCK
from stepopsd_agent.cli.playing import play_sets
from tests.helpers.command_line import refusal, run
from tests.helpers.runs import ROOT, environment, train_arguments

SHORT = ["--updates=1", "--eval.every=0", "--eval.num_games=1", "--rollout.tasks=1", "--rollout.group_size=2"]
locking = pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
OTHER = """
import sys
from pathlib import Path
from stepopsd_agent.cli.output_paths import LOCK
from stepopsd_wrappers.folder_lock import locked
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
held = locked(folder / LOCK)
if not any(folder.glob("*.yaml")) and not any(folder.glob("*.json")):
    (folder / "config.yaml").write_text("of the first\\n")
print("begun", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that writes to the folder, as far as it is seen from outside; killed in the end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OTHER, str(folder)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(), cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        try:
            yield other
        finally:
            other.kill()


def files(folder: Path) -> dict[str, bytes]:
    """Every file with its content, but the lock."""
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK
    }


@locking
def test_train_leaves_a_folder_alone_in_which_another_began_meanwhile(
    fresh_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both found it empty. A killed one keeps nobody out, and its folder can be told from an empty one."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        started = []

        def meanwhile(config: Any) -> Any:
            started.append(other := another(out))
            other.__enter__()
            return trained_policy(config)

        patch.setattr(train, "trained_policy", meanwhile)
        line = refusal(capsys, *train_arguments(fresh_model, out, *SHORT))
    assert f"another command is writing to {out}; wait until it has ended, or choose another" in line
    assert files(out) == {str(out / "config.yaml"): b"of the first\n"}
    started[0].__exit__(None, None, None)
    assert "is not empty; choose another" in refusal(capsys, *train_arguments(fresh_model, out, *SHORT))
    (out / "config.yaml").unlink()
    assert run(*train_arguments(fresh_model, out, *SHORT)) == 0


def test_train_does_not_write_over_a_run_that_ended_meanwhile(
    fresh_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is looked at again once it is this command's own."""
    out = tmp_path / "run"

    def meanwhile(config: Any) -> Any:
        out.mkdir()
        (out / "config.yaml").write_text("of the first\n")
        return trained_policy(config)

    monkeypatch.setattr(train, "trained_policy", meanwhile)
    line = refusal(capsys, *train_arguments(fresh_model, out, *SHORT))
    assert f"{out} is not empty; choose another folder for --out, or continue it with: " in line
    assert files(out) == {str(out / "config.yaml"): b"of the first\n"}


@locking
def test_train_is_not_resumed_while_it_runs(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is anything of it touched; afterwards it is."""
    out = tmp_path / "run"
    assert run(*train_arguments(fresh_model, out, *SHORT)) == 0
    (out / "summary.json").unlink()
    before = files(out)
    with another(out):
        line = refusal(capsys, "train", "--resume", str(out))
    assert f"another command is writing to {out}; wait until it has ended\n" in line
    assert files(out) == before
    assert run("train", "--resume", str(out)) == 0
    assert (out / "summary.json").is_file()


EVAL = ("eval", "--agent=random", "--env.tier=tiny", "--eval.num_games=2")


@locking
def test_an_evaluation_leaves_a_folder_alone_in_which_another_began_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are not written over: they are what the other is resumed with."""
    out = tmp_path / "played"
    with ExitStack() as others:

        def meanwhile(*arguments: Any, **more: Any) -> Any:
            others.enter_context(another(out))
            return play_sets(*arguments, **more)

        monkeypatch.setattr("stepopsd_agent.cli.commands.eval.play_sets", meanwhile)
        line = refusal(capsys, *EVAL, "--out", str(out))
    assert f"another command is writing to {out}; wait until it has ended, or choose another" in line
    assert files(out) == {str(out / "config.yaml"): b"of the first\n"}


@locking
def test_an_evaluation_is_not_resumed_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two that play what is missing would record it twice."""
    out = tmp_path / "played"
    assert run(*EVAL, "--out", str(out)) == 0
    before = files(out)
    with another(out):
        line = refusal(capsys, "eval", "--resume", str(out))
    assert f"another command is writing to {out}; wait until it has ended\n" in line
    assert files(out) == before
    assert run("eval", "--resume", str(out)) == 0


@locking
def test_a_sweep_leaves_a_folder_alone_to_which_another_writes(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither begun there nor resumed: its runs would be started twice."""
    out = tmp_path / "sweep"
    grid = ["sweep", *train_arguments(fresh_model, out, *SHORT)[1:], "--grid", "learner.lr=1e-4"]
    with another(out):
        (out / "config.yaml").unlink()
        line = refusal(capsys, *grid)
        assert f"another command is writing to {out}; wait until it has ended, or choose another" in line
        assert files(out) == {}
        (out / sweep.FILE).write_text("{}")
        line = refusal(capsys, "sweep", "--resume", str(out))
        assert f"another command is writing to {out}; wait until it has ended\n" in line


@pytest.mark.parametrize("command", ["train", "eval", "sweep", "warmstart", "record"])
def test_a_folder_below_a_file_is_refused_before_any_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after the model was loaded."""
    (tmp_path / "file").write_text("not a folder\n")
    out = tmp_path / "file" / "run"
    grid = ["--grid", "learner.lr=1e-4", "--model.path", str(tmp_path)] if command == "sweep" else []
    line = refusal(capsys, command, "--out", str(out), *grid)
    assert f"{out}: Not a directory" in line
