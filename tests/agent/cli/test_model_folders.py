"""Folders of models that commands cannot use: one clear line, before anything is written."""

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.command_line import TINY, refusal
from tests.helpers.runs import train_arguments


def test_cli_names_a_model_folder_without_tokenizer(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the run folder is made."""
    folder = shutil.copytree(fresh_model, tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    line = refusal(capsys, *train_arguments(folder, tmp_path / "run"))
    assert f"{folder}: no tokenizer" in line and "save_pretrained" in line
    assert not (tmp_path / "run").exists()


def test_cli_names_the_model_inside_a_run_folder(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is what whoever names the run itself has in mind."""
    run_folder = tmp_path / "run"
    shutil.copytree(fresh_model, run_folder / "model")
    line = refusal(capsys, "check-model", str(run_folder))
    assert (
        line == f"stepopsd: error: {run_folder}: the folder of a run; its model is {run_folder / 'model'}\n"
    )


def test_warmstart_finds_out_beforehand_that_its_folder_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not when the expert has played and the model is cloned, with nowhere to put it."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    out = tmp_path / "notes.txt" / "model"
    line = refusal(capsys, "warmstart", *TINY, "--warmstart.demonstrations=2", f"--out={out}")
    assert f"cannot write {out}: " in line


def test_cli_names_a_damaged_model_folder(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights cut in half."""
    folder = shutil.copytree(fresh_model, tmp_path / "model")
    os.truncate(folder / "model.safetensors", 2000)
    assert str(folder) in refusal(capsys, "eval", f"--model.path={folder}", *TINY, "--eval.num_games=1")


def test_cli_names_a_chat_setting_the_tokenizer_cannot_fulfil(
    fresh_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has no chat template."""
    arguments = train_arguments(fresh_model, tmp_path / "run", "--model.chat=on")
    assert "no chat template" in refusal(capsys, *arguments)
