"""A folder to resume that is not there, or is none of a run."""

from pathlib import Path

import pytest

from tests.helpers.command_line import refusal


@pytest.mark.parametrize("command", ["train", "eval", "sweep"])
def test_resume_of_a_folder_that_is_not_there_says_so(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not what the folder lacks."""
    line = refusal(capsys, command, "--resume", "nowhere")
    assert "there is no folder nowhere; --resume takes the --out of an earlier" in line


def test_resume_of_a_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Likewise."""
    line = refusal(capsys, "train", "--resume", __file__)
    assert f"{__file__} is a file; --resume takes the --out of an earlier train" in line


def test_resume_of_another_folder_names_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without settings is none of a run."""
    line = refusal(capsys, "train", "--resume", str(Path(__file__).parent))
    assert "cli has no config.yaml; --resume takes" in line


def test_train_resumed_without_the_processes_it_shares_names_the_whole_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run stopped by Ctrl-C is told to go on with --resume, which one process alone cannot do."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("learner:\n  sharding: fsdp\n", encoding="utf-8")
    said = refusal(capsys, "train", f"--resume={run}")
    assert f"-m stepopsd_agent train --resume {run}, or set it to none in its config.yaml" in said
