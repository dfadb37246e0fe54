"""The GPU benchmark runs, tiny, where there is no GPU; its targets can be missed."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.learner import gpu_update
from benchmarks.learner.gpu_update import Bench
from stepopsd_agent.run.planning import Lengths

LENGTHS = Lengths(first=30, further=20, response=6, steps=3, block=4)


def test_gpu_update_runs_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a command; without a card it says so."""
    out = tmp_path / "out.json"
    monkeypatch.setattr(gpu_update, "STEPS", 2)
    monkeypatch.setattr(sys, "argv", ["gpu_update", "--tiny", "--json", str(out)])
    assert gpu_update.main() == 0
    figures = json.loads(out.read_text())
    assert figures["memory_peak"] is None and figures["command"].endswith("--tiny")
    assert 0 < figures["share_without_recomputed"] < figures["share_of_matmul_rate"]
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", ["gpu_update"])
        assert gpu_update.main() == 2


def test_gpu_update_counts_by_hand() -> None:
    """Two episodes: 30 + 2 * 20 + 3 * 6 tokens are trained on, and 4 more scored before each of 6 steps."""
    config = gpu_update.settings(tiny=True, tokens=64)
    policy = gpu_update.random_policy(config)
    before = policy.state()
    figures = gpu_update.measure(Bench(config, policy, LENGTHS))
    assert figures["tokens"] == {"update": 2 * 88, "teacher": 2 * 88 + 6 * 4}
    assert any(not torch.equal(before[name], now) for name, now in policy.state().items())
    seconds = {"teacher": 1.0, "update": 4.0}
    found = gpu_update.figures_of(
        Bench(config, policy, LENGTHS), seconds, figures["tokens"], 1e9, figures["memory_planned"] * 2
    )
    assert found["teacher_of_update"] == 0.25 and found["memory_of_plan"] == 2.0
    assert found["share_of_matmul_rate"] == pytest.approx(4 / 3 * found["share_without_recomputed"], rel=1e-2)


def test_gpu_update_targets_can_be_missed() -> None:
    """Each by itself."""
    good = {"share_of_matmul_rate": 0.41, "teacher_of_update": 0.29, "memory_of_plan": 0.93}
    assert gpu_update.missed(good) == []
    for name, value in (
        ("share_of_matmul_rate", 0.39),
        ("teacher_of_update", 0.31),
        ("memory_of_plan", 1.11),
        ("memory_of_plan", 0.85),
        ("memory_of_plan", None),
    ):
        assert len(gpu_update.missed({**good, name: value})) == 1


@pytest.mark.gpu
def test_gpu_update_counts_memory_on_cuda() -> None:
    """A tiny shape there: the peak is known."""
    config = gpu_update.settings(tiny=True, tokens=64)
    config.device = "cuda"
    figures = gpu_update.measure(Bench(config, gpu_update.random_policy(config), LENGTHS))
    assert figures["memory_peak"] > 0
