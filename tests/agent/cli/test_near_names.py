"""Flags and methods that there are not: the error names those that may have been meant."""

import pytest

from tests.helpers.command_line import refusal, run


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        (["--learner.lrr=1"], "--learner.lrr=1; did you mean --learner.lr?"),
        (["--lora.rank=1"], "did you mean --learner.lora.rank?"),
        (["--num_games", "6"], "did you mean --env.num_games or --eval.num_games?"),
        (["--credit.lambda_mx", "0.1"], "did you mean --credit.lambda_mix?"),
        (["--credit.method=step_opds"], "no credit method 'step_opds': did you mean 'step_opsd'?"),
    ],
)
def test_cli_names_what_may_have_been_meant(
    flags: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A section that was left out, or a letter."""
    assert meant in refusal(capsys, "train", *flags)


def test_cli_guesses_nothing_where_nothing_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong hint is worse than none."""
    assert "did you mean" not in refusal(capsys, "train", "--xyzzy=1")


@pytest.mark.parametrize("command", ["compare", "replay", "export", "train"])
def test_cli_usage_is_a_line_that_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing stands between the program and the command."""
    assert run(command, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: stepopsd {command} ")
    assert f"(see stepopsd {command} --help)" in refusal(
        capsys, command, "--xyzzy=1", "x", "--to=sft", "--out=x"
    )
