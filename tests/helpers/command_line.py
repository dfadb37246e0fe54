"""Running commands in this process, and what they print when refused."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.main import main

TINY = ["--env.tier=tiny", "--env.step_limit=8", "--env.num_games=4"]


def run(*arguments: str) -> int:
    """The exit code, whether the parser or the command ended it."""
    try:
        return main(list(arguments))
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command with bad input prints."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("stepopsd: error: ") and err.count("\n") == 1, err
    return err


def record(folder: Path, *more: str) -> None:
    """Three expert episodes."""
    assert run("record", "--agent=expert", "--episodes=3", *TINY, "--out", str(folder), *more) == 0
