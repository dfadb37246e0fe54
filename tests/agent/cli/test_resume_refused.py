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
