"""The comparison of speed ratios with the committed ones."""

import json

import pytest

from benchmarks import speed_ratios
from benchmarks.report.pages import RESULTS


def test_a_ratio_that_fell_is_named() -> None:
    """One that is a little smaller is noise; one that is not measured any more counts as lost."""
    committed = {"decoder": 3.0, "scoring": 4.0, "update": 1.2}
    assert speed_ratios.compared({"decoder": 2.0, "scoring": 4.4, "update": 1.2, "new": 0.1}, committed) == []
    lines = speed_ratios.compared({"decoder": 1.7, "scoring": 4.0}, committed)
    assert lines == [
        "decoder: 1.7, committed 3.0, at least 1.80 is expected",
        "update: None, committed 1.2, at least 0.72 is expected",
    ]


def test_the_command_fails_where_speed_was_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not where all ratios are the committed ones; nothing is written."""
    committed = json.loads((RESULTS / "speed_ratios.json").read_text())["ratios"]
    monkeypatch.setattr("sys.argv", ["speed_ratios"])
    monkeypatch.setattr(speed_ratios, "ratios", lambda: committed)
    assert speed_ratios.main() == 0
    slower = {name: ratio / 2 for name, ratio in committed.items()}
    monkeypatch.setattr(speed_ratios, "ratios", lambda: slower)
    assert speed_ratios.main() == 1
    assert capsys.readouterr().err.count("slower: ") == len(committed)
