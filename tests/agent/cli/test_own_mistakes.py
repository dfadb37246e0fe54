"""Mistakes of the program are not dressed up as those of its user."""

from pathlib import Path

import pytest

from tests.helpers.command_line import TINY, run


def test_cli_leaves_mistakes_of_the_program_their_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A ValueError that is nobody's input is not dressed up as one."""

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("stepopsd_agent.rollout.play_set_with", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        run("record", "--agent=random", *TINY, f"--out={tmp_path / 'out'}")
