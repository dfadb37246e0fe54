"""Run folders: killed and continued runs are those that were never interrupted, whenever the kill came."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.cli.main import main
from stepopsd_agent.run import Interrupted, Run, Trainer, summary as summary_module
from stepopsd_agent.run.files import latest_checkpoint, load_checkpoint, read_rows
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_wrappers import read_episodes
from tests.helpers.runs import ROOT, environment, run_config, sitting, stepopsd, taught, train_arguments

pytestmark = pytest.mark.samples


@pytest.fixture(scope="module")
def whole(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert sitting(train_arguments(taught_model, out), out) == 0
    return out


def content(out: Path) -> dict[str, Any]:
    """Everything about a finished run that does not depend on the clock or the machine."""
    files = [out / "metrics.jsonl", out / "model" / "model.safetensors", *(out / "episodes").iterdir()]
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None
    tensors, state = load_checkpoint(path)
    summary = json.loads((out / "summary.json").read_text())
    return {
        **{str(file.relative_to(out)): file.read_bytes() for file in files},
        **{f"{k}/{name}": tensor.tolist() for k, group in tensors.items() for name, tensor in group.items()},
        "state": {key: value for key, value in state.items() if key != "wall_s"},
        "summary": {key: value for key, value in summary.items() if key != "wall_s"},
        "timed": [row["update"] for row in read_rows(out / "timing.jsonl")],
    }


def test_run_learns_from_mixed_groups(whole: Path) -> None:
    """What the comparisons below compare has moved: there are successes, failures and changed weights."""
    episodes = list(read_episodes(whole / "episodes"))
    assert {episode.success for episode in episodes} == {True, False}
    path = latest_checkpoint(whole / "checkpoints")
    assert path is not None
    tensors, state = load_checkpoint(path)
    assert state["update"] == 6
    assert max((tensors["model"][k] - tensors["initial"][k]).abs().max() for k in tensors["model"]) > 1e-3
    assert any(not torch.equal(tensors["teacher"][k], tensors["initial"][k]) for k in tensors["model"])


@pytest.mark.repeats
def test_run_killed_again_and_again_ends_as_if_never_interrupted(
    taught_model: Path, whole: Path, tmp_path: Path
) -> None:
    """SIGKILL at file operations of every kind, ever later: first files, checkpoints, rows, last files."""
    out = tmp_path / "run"
    kill_at, killed = 1, 0
    while True:
        begun = (out / "config.yaml").exists()
        arguments = ["train", "--resume", str(out)] if begun else train_arguments(taught_model, out)
        code = sitting(arguments, out, kill_at)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kill_at, killed = kill_at + 9, killed + 1
    assert killed >= 6
    assert content(out) == content(whole)


@pytest.mark.repeats
@pytest.mark.parametrize("begun", [False, True])
def test_run_resumes_without_a_checkpoint_from_the_beginning(
    taught_model: Path, whole: Path, tmp_path: Path, begun: bool
) -> None:
    """The evaluation, half a row and half a model of a first sitting without a checkpoint are made again."""
    out = tmp_path / "run"
    out.mkdir()
    saved = (whole / "config.yaml").read_text()
    (out / "config.yaml").write_text(saved)
    (out / ".model.unfinished").mkdir()
    (out / ".model.unfinished" / "model.safetensors").write_text("half")
    (out / "episodes").mkdir()
    (out / "episodes" / "episodes-00000.jsonl").touch()
    first = (whole / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0]
    (out / "metrics.jsonl").write_bytes(first + first[:-7])
    if begun:
        taught().save(out / "model")
    assert main(["train", "--resume", str(out)]) == 0
    assert content(out) == content(whole)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("left", ["metrics.jsonl", "timing.jsonl", "episodes", "summary.json", "plan.json"])
def test_run_without_its_checkpoints_is_not_begun_again(
    whole: Path, tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever trace of the updates is left, and nothing in the folder changes."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "checkpoints")
    traces = ("metrics.jsonl", "timing.jsonl", "episodes", "summary.json", "plan.json", "curve.png")
    for name in set(traces) - {left}:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    before = files(out)
    assert main(["train", "--resume", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"{out} has no checkpoint, but {left} of updates" in error
    assert f"stepopsd train --config {out / 'config.yaml'} --out FOLDER" in error
    assert files(out) == before


def test_run_whose_checkpoints_are_all_damaged_is_not_begun_again(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One whole checkpoint is enough to go on from, none is not."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    checkpoints = sorted((out / "checkpoints").iterdir())
    for path in checkpoints:
        (path / "state.json").unlink()
    before = files(out)
    assert main(["train", "--resume", str(out)]) == 2
    error = capsys.readouterr().err
    assert "is whole: " in error and all(str(path) in error for path in checkpoints)
    assert files(out) == before


def test_run_goes_on_beside_names_that_are_not_its_own(whole: Path, tmp_path: Path) -> None:
    """Copies and notes that a user put into the run folder."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    newest = sorted((out / "checkpoints").iterdir())[-1].name
    for name in ("checkpoint-best", f"{newest}.bak", f"{newest} (copy)", "checkpoint-", "checkpoint-007"):
        (out / "checkpoints" / name).mkdir()
    for name in ("checkpoints/checkpoint-notes.txt", "episodes/episodes-best.jsonl", "episodes/notes"):
        (out / name).write_text("mine")
    for name in ("episodes/episodes-00000.jsonl.bak", "metrics.jsonl.bak", "notes.md"):
        (out / name).write_text("mine")
    before = files(out)
    assert main(["train", "--resume", str(out)]) == 0
    after = files(out)
    assert after.keys() - before.keys() == set()
    assert {name for name in before if after[name] != before[name]} <= {
        str(out / "summary.json"),
        str(out / "curve.png"),
    }


def test_run_that_is_finished_says_so_when_resumed(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained, and the notice says what would be needed for more."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    assert main(["train", "--resume", str(out)]) == 0
    notice = capsys.readouterr().err
    assert f"{out} has made all of its" in notice
    assert f"for more of them raise updates in {out / 'config.yaml'}" in notice


def test_run_with_a_damaged_row_names_it(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line and what to do."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    lines = (out / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    for bad in (b"{\n", b"[]\n", b"{}\n"):
        (out / "metrics.jsonl").write_bytes(b"".join([lines[0], bad, *lines[1:]]))
        assert main(["train", "--resume", str(out)]) == 2
        assert f"{out / 'metrics.jsonl'} line 2 is not a row" in capsys.readouterr().err


def test_run_resumed_after_its_end_changes_nothing(whole: Path) -> None:
    """The summary is written again, nothing else."""
    before = content(whole)
    assert main(["train", "--resume", str(whole)]) == 0
    assert content(whole) == before


@pytest.mark.parametrize("name", ["fingerprint", "eval_fingerprint", "engine_version"])
def test_run_resumed_with_other_data_is_refused(
    whole: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other training games, other evaluation games, another engine: each says what it was and what it is."""
    before = json.loads((whole / "summary.json").read_text())
    facts = {"fingerprint": before["fingerprint"], "engine_version": before["engine_version"]}
    if name == "eval_fingerprint":
        monkeypatch.setattr(summary_module, "data_identity", lambda env: {**facts, "fingerprint": "other"})
    else:
        monkeypatch.setattr(Trainer, "data", {**facts, name: "other"})
    assert main(["train", "--resume", str(whole)]) == 2
    error = capsys.readouterr().err
    assert f"begun with {name} {before[name]!r}, but here 'other'" in error


def wait_for_rows(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Wait until the run has written so many rows."""
    end = time.monotonic() + 90
    while not (out / "metrics.jsonl").exists() or len(read_rows(out / "metrics.jsonl")) < count:
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    command = [sys.executable, "-m", "stepopsd_agent", *arguments]
    return subprocess.Popen(
        command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.repeats
def test_run_stopped_by_ctrl_c_and_by_kill_continues_identically(
    taught_model: Path, whole: Path, tmp_path: Path
) -> None:
    """SIGINT ends the update, keeps it and names the command; then SIGKILL at any time; then the end."""
    out = tmp_path / "run"
    with start(train_arguments(taught_model, out)) as process:
        wait_for_rows(process, out, 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1].endswith(f"Continue with: stepopsd train --resume {out}")
    assert "Traceback" not in errors
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None
    update = load_checkpoint(path)[1]["update"]
    assert [row["update"] for row in read_rows(out / "metrics.jsonl")] == list(range(update + 1))
    assert 1 <= update < 6

    with start(["train", "--resume", str(out)]) as process:
        wait_for_rows(process, out, update + 2)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = stepopsd("train", "--resume", str(out))
    assert done.returncode == 0, done.stderr
    assert content(out) == content(whole)


def open_run(out: Path, **settings: Any) -> Run:
    """A run in this process."""
    return Run(Trainer(run_config(**settings), credit.make("grpo"), taught(), run="run"), out)


def test_run_stopped_before_the_first_update_has_a_checkpoint(tmp_path: Path) -> None:
    """Ctrl-C during the first evaluation."""
    opened = open_run(tmp_path)
    with pytest.raises(Interrupted, match=f"after update 0 of 6.*train --resume {tmp_path}"):
        opened.go(lambda: True)
    opened.close()
    assert open_run(tmp_path).evaluations.keys() == {"0"}


def test_run_refuses_a_checkpoint_of_other_optimizers(tmp_path: Path) -> None:
    """Their settings were changed between two sittings; the folder and the reason are named."""
    opened = open_run(tmp_path)
    opened.checkpoint()
    opened.close()
    with pytest.raises(CheckpointError, match=f"checkpoint {tmp_path}.* does not fit this run: "):
        open_run(tmp_path, learner={"muon_lr": 1e-3})


def test_run_evaluates_when_asked(tmp_path: Path) -> None:
    """eval.every=4 of 6 updates: at the start, after 4 and at the end."""
    opened = open_run(tmp_path, eval={"every": 4})
    opened.go(lambda: False)
    opened.close()
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["update"] for row in rows] == list(range(7))
    assert [row["update"] for row in rows if "eval" in row] == [0, 4, 6]


def test_run_goes_on_after_its_end_with_more_updates(tmp_path: Path) -> None:
    """No row is lost, and the new end is evaluated like the old one."""
    for updates in (1, 2):
        opened = open_run(tmp_path, updates=updates)
        opened.go(lambda: False)
        opened.close()
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["update"] for row in rows] == [0, 1, 2] and all("eval" in row for row in rows)
