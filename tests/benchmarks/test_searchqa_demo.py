"""The Search-QA demonstration: its parts, its two tables, and its verdict."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from benchmarks.runs import commands, demo, searchqa_demo
from stepopsd_agent.cli.main import main
from tests.helpers.search_qa_runs import SETTINGS


@pytest.mark.repeats
@pytest.mark.samples
def test_searchqa_demo_makes_its_tables_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warm start, two trainings, the random agent, all four on harder questions; the second time nothing."""
    started: list[str] = []

    def alone(arguments: list[str]) -> None:
        started.append(arguments[3])
        assert main([one for one in arguments[3:] if one not in ("--threads", "2")]) == 0

    def together(commands: Mapping[str, list[str]]) -> None:
        for arguments in commands.values():
            alone(arguments)

    for module in (commands, demo, searchqa_demo):
        monkeypatch.setattr(module, "alone", alone)
    monkeypatch.setattr(demo, "together", together)
    config, out = tmp_path / "config.yaml", tmp_path / "demo"
    small = {**SETTINGS, "updates": 1, "warmstart": {**SETTINGS["warmstart"], "demonstrations": 8}}
    config.write_text(yaml.safe_dump(small))
    monkeypatch.setattr(sys, "argv", ["demo", "--config", str(config), "--out", str(out), "--seed", "3"])
    assert searchqa_demo.main() == 1  # eight demonstrations and one update reach nothing
    assert started == ["warmstart", "train", "train", "eval", *["eval"] * 4]
    *_, where, verdict = capsys.readouterr().out.splitlines()
    assert str(out) in where and verdict.endswith("target +20 points in 15 minutes: missed")
    summary = json.loads((out / "summary.json").read_text())
    names = ["random agent", "warm start", "after step_opsd", "after grpo"]
    assert sorted(summary["rows"]) == sorted(summary["rows_2-hop"]) == sorted(names)
    assert summary["seed"] == 3 and summary["rows_2-hop"]["after grpo"]["n"] == 4
    assert searchqa_demo.main() == 1
    assert len(started) == 8


@pytest.mark.parametrize(
    ("success", "start", "minutes", "code"), [(0.8, 0.6, 14.9, 0), (0.8, 0.61, 5, 1), (0.9, 0.5, 15.1, 1)]
)
def test_searchqa_demo_reports_whether_the_target_is_reached(
    success: float, start: float, minutes: float, code: int
) -> None:
    """Twenty points above the start, and in time."""
    row = {"success": success, "n": 100, "ci95": [0.0, 1.0]}
    rows = {"rows": {"after step_opsd": row}, "rows_2-hop": {"agent": row}}
    summary = {**rows, "rise": {"step_opsd": success - start + 1e-9}, "wall_s": 60 * minutes}
    assert searchqa_demo.report(summary, Path("out"), short=False) == code
    assert searchqa_demo.report(summary, Path("out"), short=True) == 0
