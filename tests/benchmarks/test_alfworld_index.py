"""The benchmark of the index of games."""

import json
from pathlib import Path

import pytest

from benchmarks.alfworld.index import main, measure, missed, report
from tests.helpers.alfworld_games import small_game


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A split of one small game, many times."""
    for number in range(20):
        path = tmp_path / "train" / f"pick_two_obj_and_place-{number}" / "trial" / "game.tw-pddl"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(small_game()))
    return tmp_path


def test_data_index_measures_all_ways_to_open(root: Path) -> None:
    """In processes of their own; the figures stand in one line."""
    result = measure("train", str(root))
    assert result["games"] == 20 and not missed(result)
    assert report(result).startswith("20 games of train: indexed in 0.")


def test_data_index_names_missed_targets() -> None:
    """By the key of the figure."""
    assert missed({"indexed_s": 11.0, "opened_s": 0.1}) == ["indexed_s"]
    assert missed({"indexed_s": 9.0, "opened_s": 0.3}) == ["opened_s"]


def test_data_index_without_games_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    monkeypatch.setattr("sys.argv", ["x", "--data-root", str(tmp_path)])
    assert main() == 2
    assert "games='train' not found" in capsys.readouterr().err
