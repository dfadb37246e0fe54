"""Accuracy beside learning: names are matched, ranks correlated, the truth left out."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.credit import agreement


def results(gains: dict[str, float], right: dict[str, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A result of both benchmarks with these numbers alone."""
    table = {
        agreement.name_in_accuracy(name): {key: {"value": value, "n": 9} for key in agreement.MEASURES}
        for name, value in right.items()
    }
    truth = {name: table.pop(name) for name in [*table] if name.startswith("truth")}
    over = {name: {"value": gain, "ci95": [gain - 0.1, gain + 0.1]} for name, gain in gains.items() if gain}
    learning = {"rows": dict.fromkeys(gains), "over_grpo": over, "set": "full", "seeds": 3}
    return {"sets": {"small": {"start": {"methods": table, "controls": truth}}}}, learning


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("grpo", "grpo"),
        ("oracle", "truth (optimal distance)"),
        ("path_gain", "path_gain, text keys"),
        ("graph_gpo key=text", "graph_gpo, text keys"),
        ("step_opsd step_norm=none", "step_opsd, step_norm none"),
    ],
)
def test_names_of_the_two_benchmarks_are_matched(method: str, row: str) -> None:
    """A name with settings is a row of its own."""
    assert agreement.name_in_accuracy(method) == row


def test_rank_correlation_of_known_ranks() -> None:
    """By hand: 1 - 6 sum d^2 / (n (n^2 - 1)) without ties; equal values share their mean rank."""
    assert agreement.rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])["value"] == pytest.approx(0.8)
    assert agreement.rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])["value"] == pytest.approx(-1.0)
    tied = agreement.rank_correlation([1, 1, 2], [1, 2, 3])
    assert tied["value"] == pytest.approx(1.5 / (1.5 * 2) ** 0.5)
    # Of the 24 orders of four values two are as extreme as the order itself and its reverse.
    assert agreement.rank_correlation([1, 2, 3, 4], [1, 2, 3, 4])["p"] == pytest.approx(2 / 24, abs=0.005)


def test_agreement_reads_both_results_and_writes_figures_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The truth is in the table and not in the correlation; GRPO is above itself by 0."""
    gains = {"grpo": 0.0, "rlsd": -0.01, "path_gain": 0.05, "oracle": 0.09}
    accuracy, learning = results(gains, {"grpo": 0.5, "rlsd": 0.6, "path_gain": 0.9, "oracle": 1.0})
    paths = [tmp_path / "accuracy.json", tmp_path / "learning.json"]
    for path, result in zip(paths, (accuracy, learning), strict=True):
        path.write_text(json.dumps(result), encoding="utf-8")
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    flags = [f"--accuracy={paths[0]}", f"--learning={paths[1]}", f"--json={out}", f"--picture={picture}"]
    monkeypatch.setattr(sys, "argv", ["agreement", *flags])
    assert agreement.main() == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["correlations"]["auc_failed"]["n"] == 3
    assert figures["correlations"]["auc_failed"]["value"] == pytest.approx(0.5)
    assert figures["rows"]["grpo"]["over_grpo"] == 0.0 and figures["rows"]["oracle"]["auc_won"] == 1.0
    assert picture.read_bytes().startswith(b"\x89PNG") and "+0.090 over GRPO" in capsys.readouterr().out


def test_a_stage_without_fresh_attempts_takes_no_part_in_the_mean() -> None:
    """Its r is 0 for want of episodes, and not measured as 0."""
    accuracy, learning = results({"grpo": 0.0, "rlsd": 0.1}, {"grpo": 0.5, "rlsd": 0.6})
    stages = accuracy["sets"]["small"]
    stages["end"] = json.loads(json.dumps(stages["start"]))
    stages["end"]["methods"]["rlsd"] |= {"r": {"value": 0.0, "n": 0}, "auc_won": {"value": 0.8, "n": 9}}
    row = agreement.rows(accuracy, learning)["rlsd"]
    assert row["r"] == pytest.approx(0.6) and row["auc_won"] == pytest.approx(0.7)


def test_the_task_set_of_the_accuracy_can_be_chosen_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set that was not measured is refused, with those that were."""
    accuracy, learning = results(
        {"grpo": 0.0, "rlsd": -0.01, "sdar": 0.1}, {"grpo": 0.5, "rlsd": 0.6, "sdar": 1.0}
    )
    accuracy["sets"]["full"] = accuracy["sets"].pop("small")
    paths, out = [tmp_path / "accuracy.json", tmp_path / "learning.json"], tmp_path / "out.json"
    for path, result in zip(paths, (accuracy, learning), strict=True):
        path.write_text(json.dumps(result), encoding="utf-8")
    flags = ["agreement", f"--accuracy={paths[0]}", f"--learning={paths[1]}", f"--json={out}"]
    monkeypatch.setattr(sys, "argv", [*flags, "--set=full"])
    assert agreement.main() == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["accuracy_set"] == "full" and figures["command"].endswith(" --set full")
    monkeypatch.setattr(sys, "argv", flags)
    with pytest.raises(SystemExit):
        agreement.main()
    assert "has no task set 'small'; it has full" in capsys.readouterr().err


def test_a_trained_method_without_accuracy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of being left out of the correlation; on the command line in one line."""
    accuracy, learning = results({"grpo": 0.0, "sdar": 0.1}, {"grpo": 0.5})
    with pytest.raises(ValueError, match="no row 'sdar' for 'sdar': measure it first"):
        agreement.rows(accuracy, learning)
    files = {"accuracy": accuracy, "learning": learning}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    named = [part for name in files for part in (f"--{name}", str(tmp_path / name))]
    monkeypatch.setattr(sys, "argv", ["agreement", *named])
    with pytest.raises(SystemExit):
        agreement.main()
    assert "error: the accuracy result has no row 'sdar'" in capsys.readouterr().err.splitlines()[-1]
