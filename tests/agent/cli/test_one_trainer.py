"""One command at a time trains in a run folder; a second one leaves everything as it is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.cli.commands import train
from stepopsd_agent.cli.common import trained_policy
from tests.helpers.command_line import refusal, run
from tests.helpers.runs import ROOT, environment, train_arguments

SHORT = ["--updates=1", "--eval.every=0", "--eval.num_games=1", "--rollout.tasks=1", "--rollout.group_size=2"]
OTHER = """
import sys
from pathlib import Path
from stepopsd_agent.cli.commands.train import LOCK
from stepopsd_wrappers.folder_lock import locked
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
held = locked(folder / LOCK)
if not (folder / "config.yaml").exists():
    (folder / "config.yaml").write_text("of the first\\n")
print("begun", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that trains in the folder, as far as it is seen from outside; killed in the end."""
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
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != train.LOCK
    }


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
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
    assert f"another command is training in {out}; wait until it has ended, or choose another" in line
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


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
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
    assert f"another command is training in {out}; wait until it has ended\n" in line
    assert files(out) == before
    assert run("train", "--resume", str(out)) == 0
    assert (out / "summary.json").is_file()
