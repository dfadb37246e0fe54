"""The benchmark of stable-baselines3: what counts, what is kept, what the page and the picture show."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.stable_baselines import stable_baselines
from benchmarks.runs import sb3
from benchmarks.runs.sb3_picture import draw_curves

REFERENCES: dict[str, dict[str, Any]] = {
    "random agent": {"success": 0.1, "n": 10, "ci95": [0.0, 0.4]},
    "oracle": {"success": 1.0, "n": 10, "ci95": [0.7, 1.0]},
}


def curve(*tests: tuple[float, float]) -> sb3.Curve:
    """Minutes and success of each test."""
    return [
        {"steps": 100.0 * k, "seconds": 60 * minutes, "success": success, "tasks": 10.0}
        for k, (minutes, success) in enumerate(tests)
    ]


@pytest.mark.parametrize(
    ("tests", "reached"),
    [
        (((0, 0.1), (9, 0.4), (12, 0.6)), True),
        (((0, 0.1), (9, 0.3), (12, 0.6)), False),  # too late
        (((0, 0.1), (9, 0.6), (12, 0.3)), False),  # lost again: the best test does not count
        (((0, 0.1), (10, 0.4)), True),
    ],
    ids=str,
)
def test_target_counts_the_last_test_and_the_one_when_time_is_over(tests: Any, reached: bool) -> None:
    """30 points above the random agent at both."""
    result = sb3.summarise({"DQN": {"0": curve(*tests)}}, REFERENCES)
    assert result["reached"] is reached
    assert result["rows"]["DQN, seed 0"]["success"] == tests[-1][1]


def test_references_play_the_held_out_games() -> None:
    """The oracle wins them all."""
    rows = sb3.beside(3)
    assert rows["oracle"]["success"] == 1.0 and rows["random agent"]["success"] < 0.7
    assert {row["n"] for row in rows.values()} == {3}


def test_reward_of_whole_episodes_pays_back_at_the_limit() -> None:
    """The distance that is left, a tenth a command: several times the reward of a good command."""
    paid = sb3.at_the_limit(12)
    assert 0.3 < paid["mean"] <= paid["max"] and 0 < paid["n"] <= 12 and 0 <= paid["lost"] < 1


def test_finished_runs_are_read_and_not_trained_again(tmp_path: Path) -> None:
    """Neither needs stable-baselines3 then; an unfinished one does not count as finished."""
    for name in sb3.ALGORITHMS:
        folder = tmp_path / f"{name}-4"
        folder.mkdir()
        (folder / "curve.json").write_text(json.dumps(curve((0, 0.0), (1, 0.5))), encoding="utf-8")
        (folder / "finished").touch()
    curves = sb3.train(tmp_path, [4], [])
    assert {name: runs["4"][-1]["success"] for name, runs in curves.items()} == dict.fromkeys(
        sb3.ALGORITHMS, 0.5
    )
    assert list(sb3.train(tmp_path, [4], [], ["DQN"])) == ["DQN"]


def test_page_and_picture_show_every_run() -> None:
    """With the time it took."""
    result = sb3.summarise({"DQN": {"0": curve((0, 0.0), (9, 0.5)), "1": curve((0, 0.0))}}, REFERENCES)
    result["paid_at_the_limit"] = {"n": 9, "mean": 0.8, "max": 10.0, "lost": 0.1}
    facts = {"cpu": "a processor", "cores": 2, "gpu": "none"}
    packages = {"torch": "2", "transformers": "5"}
    made = {"command": "python -m benchmarks.runs.sb3", "commit": "0" * 40, "python": "3.11"}
    text = "\n".join(stable_baselines({**result, **made, "hardware": facts, "packages": packages}))
    assert "| DQN, seed 0 | 50.0%" in text and "| 50.0% | 100 | 9.0 |" in text and "| oracle | 100.0%" in text
    assert draw_curves(result).startswith(b"\x89PNG")


def test_benchmark_trains_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In short; the second call trains nothing, and what was learned is too little for the target."""
    for package in ("stable_baselines3", "sb3_contrib"):
        pytest.importorskip(package, reason="the extra sb3 is not installed")
    out, file = tmp_path / "runs", tmp_path / "result.json"
    arguments = ["--steps=1200", "--games=2", "--seeds=3", f"--out={out}", f"--json={file}"]
    monkeypatch.setattr(sys, "argv", ["sb3", *arguments])
    assert sb3.main() == 1
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result["rows"]) == {"random agent", "oracle", "MaskablePPO, seed 3", "DQN, seed 3"}
    assert result["command"] == "python -m benchmarks.runs.sb3 --seeds 3 --games 2 --steps 1200"
    monkeypatch.setattr(sb3, "together", lambda commands: pytest.fail("trained again"))
    assert sb3.main() == 1
