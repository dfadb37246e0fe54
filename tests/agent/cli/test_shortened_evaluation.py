"""An evaluation says where the model did not see its whole history."""

from pathlib import Path

import pytest

from tests.helpers.command_line import run

GAMES = ["--env.tier=tiny", "--env.step_limit=8", "--env.layout=window", "--eval.num_games=2"]


@pytest.mark.samples
@pytest.mark.parametrize(("room", "told"), [(120, True), (4000, False)])
def test_eval_tells_how_many_prompts_lost_history(
    room: int, told: bool, taught_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the setting that gives them room; nothing where they have it."""
    flags = [f"--model.path={taught_model}", f"--rollout.max_row_tokens={room}", "--rollout.max_tokens=10"]
    assert run("eval", *GAMES, *flags) == 0
    error = capsys.readouterr().err
    assert ("prompts had no room in rollout.max_row_tokens" in error) == told
    assert (f"which is {room}, and lost their oldest history" in error) == told
