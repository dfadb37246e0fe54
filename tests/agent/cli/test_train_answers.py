"""Training that reads gold answers, on tasks that have none."""

from pathlib import Path

import pytest

from tests.helpers.command_line import refusal


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--credit.method=igpo",), "the credit method needs gold answers"),
        (("--credit.method=step_opsd", "--hindsight.mode=gold"), "hindsight.mode is gold, but"),
    ],
)
def test_gold_answers_that_there_are_none_of_are_refused_before_anything_is_made(
    flags: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model, which is not there, would be the next to be missed."""
    out, model = tmp_path / "run", tmp_path / "model"
    model.mkdir()
    tiny = ("--env.tier=tiny", "--eval.num_games=2", "--threads=1")
    assert said in refusal(capsys, "train", f"--model.path={model}", f"--out={out}", *tiny, *flags)
    assert not out.exists()
