"""Training by a method that cannot have what it reads: refused before anything is played."""

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


def test_alike_observations_are_refused_for_a_method_that_looks_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clusters are numbered anew in each batch; the run ended after its first evaluation."""
    flags = ("--credit.method=tigpo", "--rollout.anchor_similarity=0.9")
    said = refusal(capsys, "train", f"--out={tmp_path / 'run'}", "--env.tier=tiny", "--threads=1", *flags)
    assert "rollout.anchor_similarity is 0.9, but credit method 'tigpo' compares observations" in said
