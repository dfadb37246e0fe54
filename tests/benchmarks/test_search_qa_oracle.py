"""The benchmark of the synthetic world's oracle: what it counts, and how it ends."""

import json
from pathlib import Path

import pytest

from benchmarks.search_qa import oracle as benchmark
from stepopsd_envs.search_qa.oracle import SearchOracle


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny worlds, and the small one whose figures stand in the last line."""
    monkeypatch.setattr(benchmark, "SHORT", 20)
    monkeypatch.setattr(benchmark, "TIERS", ("tiny", "small"))


@pytest.mark.usefixtures("quick")
def test_benchmark_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures on the last line and in the file; every question of every type is answered."""
    out = tmp_path / "out.json"
    assert benchmark.main(["--short", "--json", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "80 questions of 4 sets of worlds: lowest EM 1.0000, lowest gold_seen 1.0000" in last
    figures = json.loads(out.read_text())
    assert figures["command"] == "python -m benchmarks.search_qa.oracle --short"
    assert figures["failures"] == [] and figures["small_guessed_em"] < 0.1
    assert set(figures["tiny_train"]["em_by_task_type"].values()) == {1.0}
    assert 1.0 < figures["small_test"]["searches_per_question"] < 2.0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("plan", [["<answer>nobody</answer>"], ["<search>x</search>"]])
def test_benchmark_fails_when_a_question_is_not_solved(
    plan: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 for a wrong answer or none, with the first of them by name."""
    monkeypatch.setattr(SearchOracle, "plan", lambda oracle: plan)
    assert benchmark.main(["--short"]) == 1
    assert "synthetic/tiny/train/000/00000: em 0.0" in capsys.readouterr().out
