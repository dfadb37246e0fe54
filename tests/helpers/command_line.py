"""Running commands in this process, and what they print when refused."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.main import main
from stepopsd_agent.credit import registry

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


def own_method(file: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the module of a credit method that can be imported, and registers it, for this test alone."""
    file.write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
