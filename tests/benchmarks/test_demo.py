"""The demonstration: its parts, what it refuses, and that it goes on where it stopped."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.report.demo import FIGURES, credits, curves
from benchmarks.runs import commands, demo, demo_credit
from stepopsd_agent.cli.main import main
from tests.helpers.runs import ROOT, SETTINGS, environment

SMALL: dict[str, Any] = {
    **SETTINGS,
    "updates": 2,
    "model": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 400, "max_positions": 1024},
    "warmstart": {"demonstrations": 8, "batch_rows": 4},
}
SMALL["eval"] = {**SETTINGS["eval"], "every": 1}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that were started, which here run in this process."""
    found: list[str] = []

    def alone(arguments: list[str]) -> None:
        assert arguments[:2] == [sys.executable, "-m"]
        if arguments[2] == "benchmarks.runs.demo_credit":
            found.append("credit")
            monkeypatch.setattr(sys, "argv", arguments[2:])
            assert demo_credit.main() == 0
        else:
            found.append(arguments[3])
            assert main([one for one in arguments[3:] if one not in ("--threads", "2")]) == 0

    def together(commands: Mapping[str, list[str]]) -> None:
        for arguments in commands.values():
            alone(arguments)

    for module in (demo, commands):
        monkeypatch.setattr(module, "alone", alone)
    monkeypatch.setattr(demo, "together", together)
    return found


@pytest.mark.repeats
@pytest.mark.samples
def test_demo_makes_its_tables_and_keeps_what_is_there(
    started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All parts, summary, pictures and verdict; the second time nothing is made again but what is missing."""
    config, out = tmp_path / "config.yaml", tmp_path / "demo"
    config.write_text(yaml.safe_dump(SMALL))

    def run() -> int:
        arguments = ["demo", "--config", str(config), "--out", str(out), "--seed", "3"]
        monkeypatch.setattr(sys, "argv", arguments)
        return demo.main()

    assert run() == 1  # eight demonstrations and two updates reach nothing
    assert started == ["warmstart", "train", "train", "train", "eval", "credit"]
    *_, agents, curve, figures, episode, where, verdict = (
        capsys.readouterr()
        .out.strip()
        .replace("\nrun folder", "\n\nrun folder")
        .replace("\nbest:", "\n\nbest:")
        .split("\n\n")
    )
    names = ["random agent", "warm start", *(f"after {method}" for method in demo.METHODS)]
    assert [line.split("  ")[0] for line in agents.splitlines()[-6:]] == ["agent", *names]
    assert [line.split()[0] for line in curve.splitlines()] == ["success", *demo.METHODS]
    assert [line.split()[0] for line in figures.splitlines()[2:]] == list(demo.METHODS)
    assert "episode" in episode and "curve.png, episode.png" in where and str(out) in where
    assert verdict.startswith("best: ") and verdict.endswith("target +20 points: missed")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seed"] == 3 and summary["rows"]["after grpo"]["n"] == 2
    for method in demo.METHODS:
        assert [one["update"] for one in summary["evaluations"][method]] == [0, 1, 2]
    assert summary["credit"]["episodes"] == 2 * 2 * 4
    for picture in ("curve.png", "episode.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert len(curves(summary)) == 3 + 3 and len(credits(summary)) == 3 + 3 + 2

    (out / "grpo" / "summary.json").unlink()  # as if it had been stopped before its end
    (out / "credit.json").unlink()
    assert run() == 1
    assert started[6:] == ["train", "credit"]
    again = json.loads((out / "summary.json").read_text())
    assert again["rows"] == summary["rows"] and again["credit"] == summary["credit"]
    assert again["wall_s"] >= summary["wall_s"]


def test_demo_refuses_a_folder_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of two seeds are not mixed into one table."""
    settings = {"seed": 0, "short": False, "config": demo.CONFIG.read_text(encoding="utf-8")}
    (tmp_path / "sittings.json").write_text(json.dumps({"settings": settings, "spent_s": 1.0}))
    monkeypatch.setattr(sys, "argv", ["demo", "--out", str(tmp_path), "--seed", "1"])
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 2
    assert f"{tmp_path} holds a demonstration with another seed" in capsys.readouterr().err


SAME = [{"update": 0, "n": 100, "success": 0.4}, {"update": 10, "n": 100, "success": 0.6}]
CREDIT: dict[str, Any] = {
    "episodes": 1,
    "groups": 1,
    "mixed": 0,
    "methods": {
        method: {name: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1} for name in FIGURES}
        for method in demo.METHODS
    },
    "episode": None,
}


@pytest.mark.parametrize(
    ("rises", "other", "code"),
    [
        ((0.2, 0.0, 0.1), SAME, 0),
        ((0.0, 0.1, 0.2), SAME, 0),
        ((0.19, 0.1, 0.0), SAME, 1),
        ((0.2, 0.0, 0.1), SAME[:1], 1),
    ],
)
def test_demo_reports_whether_the_target_is_reached(
    rises: tuple[float, ...], other: list[dict[str, Any]], code: int
) -> None:
    """By whichever is the best, and only with the same evaluations of all."""
    row = {"success": 0.6, "n": 100, "ci95": [0.0, 1.0]}
    summary = {
        "rows": {f"after {method}": row for method in demo.METHODS},
        "rise": dict(zip(demo.METHODS, rises, strict=True)),
        "evaluations": {"path_gain": SAME, "step_opsd": other, "grpo": SAME},
        "credit": CREDIT,
        "wall_s": 60.0,
    }
    assert demo.report(summary, Path("out"), short=False) == code
    assert demo.report(summary, Path("out"), short=True) == 0


@pytest.mark.slow
def test_demo_short_ends_within_a_minute(tmp_path: Path) -> None:
    """The whole thing as a user starts it."""
    command = [sys.executable, "-m", "benchmarks.runs.demo", "--short", "--out", str(tmp_path / "demo")]
    result = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "target +20" in result.stdout.splitlines()[-1]
