"""The comparison of processes and Pythons, in small."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld import determinism as alfworld_determinism
from benchmarks.alfworld.determinism import Run, main, play


def test_determinism_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """Three hash seeds give the hash that is found here; a Python that cannot be started is named."""
    assert main(["--steps=150", "--python=/no/such/python"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("the same hashes of 150 steps in ")
    assert any(line.startswith("not compared: /no/such/python") for line in lines)
    assert sum(play(150, {"tier": "small"}) in line for line in lines) >= 3


def test_determinism_hashes_what_is_said() -> None:
    """Another number of steps, another game or another limit gives another hash."""
    tiny, small, brief = {"tier": "tiny"}, {"tier": "small"}, {"tier": "tiny", "step_limit": 3}
    settings: list[tuple[int, dict[str, Any]]] = [(20, tiny), (21, tiny), (20, small), (20, brief)]
    hashes = [play(steps, setting) for steps, setting in settings]
    assert len(set(hashes)) == 4 and hashes[0] == play(20, {"tier": "tiny"})


def test_determinism_of_official_games(official_games: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are hashed as well."""
    games = official_games / "valid_unseen"
    runs = [alfworld_determinism.run(sys.executable, seed, 100, games) for seed in ("1", "2")]
    assert not any(run.problem for run in runs)
    assert runs[0].hashes == runs[1].hashes and set(runs[0].hashes) == {"generated", "official"}


@pytest.mark.parametrize(
    ("hashes", "code", "line"),
    [(["a", "a", "b"], 1, "DIFFERENT hashes"), (["a", "a", ""], 2, "")],
    ids=["different", "failed"],
)
def test_determinism_exit_codes(
    hashes: list[str],
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1 for a difference, 2 when a process of this Python fails."""
    runs = [
        Run("Python 3", str(number), {"generated": found}, "" if found else "no gymnasium")
        for number, found in enumerate(hashes)
    ]
    monkeypatch.setattr(alfworld_determinism, "run", lambda *_: runs.pop(0))
    monkeypatch.setattr(alfworld_determinism, "pythons", lambda _: [])
    assert main([]) == code
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith(line) and ("no gymnasium" in printed.err) == (code == 2)
