"""The speed benchmark: its parts in small, its table, and what it says without TextWorld."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld import speed as env_speed, speed_parts
from benchmarks.alfworld.speed import TARGETS, beside_textworld, index, main, part, table
from stepopsd_envs.alfworld.export import export_game
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.extras import install_command

GOOD = {target.key: target.limit for target in TARGETS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated games as files."""
    root = tmp_path_factory.mktemp("games")
    for n in range(12):
        export_game(generate_game("full", "train", n), root / "train" / str(n) / "trial" / "game.tw-pddl")
    return root


@pytest.fixture(scope="module")
def plays(folder: Path) -> list[dict[str, Any]]:
    """Two kitchens with the actions of an episode."""
    found = speed_parts.kitchens(str(folder), 2)
    assert found["games"] == 12 and len(found["plays"]) == 2
    plays: list[dict[str, Any]] = found["plays"]
    return plays


def test_kitchens_come_with_an_episode_of_possible_actions(folder: Path, plays: list[dict[str, Any]]) -> None:
    """The same ones every time."""
    assert all(0 < len(play["actions"]) <= speed_parts.EPISODE for play in plays)
    assert speed_parts.kitchens(str(folder), 2)["plays"] == plays


def test_parts_measure_what_they_are_named_after(folder: Path, plays: list[dict[str, Any]]) -> None:
    """Together with the index and the ratio they give every figure of the table."""
    figures = {
        **speed_parts.steps(plays, 3),
        **speed_parts.vector(plays, 4, 50),
        **speed_parts.first_load(plays[0]["game"]),
        **speed_parts.memory(str(folder)),
        **speed_parts.growth(plays, 500),
        **speed_parts.oracle(plays, 2),
    }
    assert set(GOOD) - set(figures) == {"textworld_ratio", "index_s", "open_s"}
    assert figures["loaded_games"] == 12 and figures["growth_steps"] == 500
    assert all(value >= 0 for key, value in figures.items() if key not in ("memory_mb", "growth_mb"))
    assert figures["steps_per_s"] >= figures["median_steps_per_s"] > figures["oracle_steps_per_s"] / 2
    said = speed_parts.observations(plays)["observations"]
    assert [len(texts) for texts in said] == [len(play["actions"]) + 1 for play in plays]


def test_index_is_made_once(folder: Path) -> None:
    """Each part in a process of its own."""
    figures = index(folder)
    assert figures["indexed_games"] == 12 and len(figures["fingerprint"]) == 32
    with pytest.raises(ValueError, match=r"the part 'memory' failed:[^$]*TypeError"):
        part("memory", no_such_argument=1)


def test_ratio_is_not_given_without_textworld(
    plays: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is named, and how to get it."""
    monkeypatch.setenv("PYTHONPATH", "")
    figures = beside_textworld(plays, 1, str(Path(sys.base_prefix) / "bin" / "python3"))
    assert set(figures) == {"textworld"} and install_command("alfworld") in figures["textworld"]
    with pytest.raises(ValueError, match="--textworld-python /no/such/python cannot be started"):
        beside_textworld(plays, 1, "/no/such/python")


def test_ratio_is_that_of_the_same_games_and_actions(
    plays: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for TextWorld with steps of 0.1 s that says something else."""
    stand_in = tmp_path / "python"
    timed = '[{"load_s": 2, "reset_s": 1, "steps_s": [0.1, 0.1, 300], "observations": ["?"]}]'
    stand_in.write_text(f"#!/bin/sh\ncat > /dev/null\necho noise\necho '{timed}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(env_speed, "part", lambda name, **_: {"median_steps_per_s": 5000, "observations": []})
    figures = beside_textworld(plays, 1, str(stand_in))
    assert figures["textworld_ratio"] == 500 and figures["textworld_steps_per_s"] == 10
    assert figures["textworld_says_the_same"] is False


def test_table_names_the_targets_that_are_missed() -> None:
    """Those not measured are not claimed; another answer than TextWorld's is a miss, too."""
    lines, missed = table(GOOD)
    assert missed == [] and len(lines) == len(TARGETS)
    lines, missed = table({**GOOD, "steps_per_s": 19_999, "open_s": 0.21, "textworld_says_the_same": False})
    assert len(missed) == 3 and "MISSED" in lines[0]
    lines, missed = table({key: value for key, value in GOOD.items() if key != "textworld_ratio"})
    assert missed == [] and lines[1].endswith("not measured")


def test_command_ends_with_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and 1 by the targets, 2 for a folder without kitchens."""
    assert main([f"--games={tmp_path}"]) == 2
    assert "0 official games, none in a kitchen" in capsys.readouterr().err
    for change, code, last in (({}, 0, "11 of 11 targets met"), ({"index_s": 11}, 1, "10 of 11")):
        found = {**GOOD, "textworld": "not installed: get it", **change}
        monkeypatch.setattr(env_speed, "measure", lambda *_, found=found: {**found, **TEXTWORLD})
        assert main([f"--games={tmp_path}"]) == code
        assert capsys.readouterr().out.splitlines()[-1].startswith(last)


TEXTWORLD = {
    "textworld_steps_per_s": 10.0,
    "textworld_load_s": 1.0,
    "textworld_reset_s": 1.0,
    "textworld_says_the_same": True,
}
