"""The demonstration: its parts side by side, what it refuses, and that it goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.runs import demo
from stepopsd_agent.cli.main import main
from tests.helpers.runs import ROOT, SETTINGS, environment

SMALL: dict[str, Any] = {
    **SETTINGS,
    "updates": 2,
    "model": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 400, "max_positions": 1024},
    "warmstart": {"demonstrations": 8, "batch_rows": 4, "novice_demonstrations": 4},
}


def python(code: str) -> list[str]:
    """A command that runs a line of Python."""
    return [sys.executable, "-c", code]


def in_this_process(arguments: list[str]) -> None:
    """Run a `stepopsd` command line without starting an interpreter."""
    assert arguments[:3] == [sys.executable, "-m", "stepopsd_agent"]
    assert main(arguments[3:]) == 0


@pytest.mark.samples
def test_demo_makes_its_table_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All parts, the summary, the picture and the verdict; the second time nothing is trained again."""
    started: list[str] = []

    def alone(arguments: list[str]) -> None:
        started.append(arguments[3])
        in_this_process([argument for argument in arguments if argument not in ("--threads", "2")])

    def together(commands: Mapping[str, list[str]]) -> None:
        for arguments in commands.values():
            alone(arguments)

    monkeypatch.setattr(demo, "alone", alone)
    monkeypatch.setattr(demo, "together", together)
    config, out = tmp_path / "config.yaml", tmp_path / "demo"
    config.write_text(yaml.safe_dump(SMALL))
    monkeypatch.setattr(sys, "argv", ["demo", "--config", str(config), "--out", str(out), "--seed", "3"])

    assert demo.main() == 1  # eight demonstrations and two updates reach nothing
    assert started == ["warmstart", "train", "train", "eval"]
    *_, heading, random, warm, first, second, where, verdict = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in (heading, random, warm, first, second)] == [
        "agent",
        "random agent",
        "warm start",
        "after step_opsd",
        "after grpo",
    ]
    assert str(out) in where and "curve.png" in where
    assert verdict.startswith("step_opsd ") and verdict.endswith("target 70% and +30 points: missed")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seed"] == 3 and summary["rows"]["after grpo"]["n"] == 2
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")

    assert demo.main() == 1
    assert started == ["warmstart", "train", "train", "eval"]
    again = json.loads((out / "summary.json").read_text())
    assert again["rows"] == summary["rows"] and again["wall_s"] >= summary["wall_s"]


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


@pytest.mark.parametrize(("success", "start", "code"), [(0.7, 0.4, 0), (0.69, 0.2, 1), (0.9, 0.61, 1)])
def test_demo_reports_whether_the_target_is_reached(success: float, start: float, code: int) -> None:
    """Both 30 points above the start and 70 %."""
    row = {"success": success, "n": 100, "ci95": [0.0, 1.0]}
    summary = {"rows": {"agent": row}, "final": row, "rise": success - start + 1e-9, "wall_s": 60.0}
    assert demo.report(summary, Path("out"), short=False) == code
    assert demo.report(summary, Path("out"), short=True) == 0


def test_demo_prefixes_the_lines_of_commands_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """And the commands see no terminal to draw bars on."""
    code = "import os, sys; print(os.environ['TERM']); print(sys.stderr.isatty(), file=sys.stderr)"
    demo.together({"one": python(code), "two": python(code)})
    time.sleep(0.2)
    lines = sorted(capsys.readouterr().err.splitlines())
    assert lines == ["       one | False", "       one | dumb", "       two | False", "       two | dumb"]


def test_demo_stops_the_others_when_one_command_fails() -> None:
    """At once, by Ctrl-C, and its exit code is that of the one that failed."""
    polite = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(1)"
    wrong = "import time; time.sleep(1); raise SystemExit(2)"
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        demo.together({"slow": python(polite), "wrong": python(wrong)})
    assert ended.value.code == 2
    assert time.monotonic() - began < 30


def test_demo_waits_for_its_commands_at_ctrl_c(tmp_path: Path) -> None:
    """They get the signal, too, and have work to finish."""
    child = (
        "import pathlib, time\n"
        f"pathlib.Path({str(tmp_path)!r}, 'began').touch()\n"
        "try: time.sleep(60)\n"
        f"except KeyboardInterrupt: time.sleep(0.5); pathlib.Path({str(tmp_path)!r}, 'kept').touch()"
    )
    code = f"from benchmarks.runs import demo\ndemo.together({{'a': [{sys.executable!r}, '-c', {child!r}]}})"
    with subprocess.Popen(
        python(code), env=environment(), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(30)
    assert (tmp_path / "kept").exists()


@pytest.mark.slow
def test_demo_short_ends_within_a_minute(tmp_path: Path) -> None:
    """The whole thing as a user starts it."""
    command = [sys.executable, "-m", "benchmarks.runs.demo", "--short", "--out", str(tmp_path / "demo")]
    result = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "target 70%" in result.stdout.splitlines()[-1]
