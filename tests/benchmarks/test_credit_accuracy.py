"""The commands of the credit benchmark, end to end and short."""

import json
from pathlib import Path

import pytest

from benchmarks.credit import accuracy, lifted_controls, qval, record, truth, two_knobs
from benchmarks.credit.sets import SETS, STAGES
from benchmarks.report.credit import accuracy as page, in_pairs
from stepopsd_agent import credit
from stepopsd_agent.accuracy import SKIPPED, entries, read_values
from stepopsd_agent.credit import registry

METHOD = '''
from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import credit, ops
from stepopsd_agent.credit import Credit


@dataclass(frozen=True)
class Accepted:
    """A step that was accepted is worth one."""

    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch):
        worth = batch.steps.valid.to(batch.tokens.old_logprobs.dtype)
        return Credit(ops.spread_steps(worth, batch.tokens.step_of_token), may_zero_steps=True)


credit.register("accepted_steps", "someones_benchmarked:Accepted")
'''


def call(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: str) -> int:
    """A command with these arguments."""
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    return int(module.main())  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.samples
def test_a_recording_is_judged_from_beginning_to_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Policies, groups, values, the figures of all methods, of one from outside, and the page."""
    out, result = tmp_path / "recordings", tmp_path / "accuracy.json"
    assert call(monkeypatch, record, "--out", str(out), "--short") == 0
    small = ("--out", str(out), "--stage", "end")
    assert call(monkeypatch, truth, *small, "--attempts", "2", "--episodes", "1", "--jobs", "1") == 0
    for place in (out / "small").glob("*/test/values.jsonl"):
        assert all(len(returns) == 2 for values in read_values(place) for returns in values.returns)
    picture = tmp_path / "accuracy.png"
    assert call(monkeypatch, accuracy, *small, "--json", str(result), "--picture", str(picture)) == 0
    capsys.readouterr()
    found = json.loads(result.read_text())["sets"]["small"]["end"]
    assert {entry.name for entry in entries()} == set(found["methods"])
    assert found["controls"]["the same everywhere"]["auc_unmixed"]["value"] == 0.5
    assert found["controls"]["truth (optimal distance)"]["auc_unmixed"]["value"] == 1.0
    assert picture.stat().st_size > 10_000 and "| *control: truth (optimal distance)* |" in "\n".join(
        page(json.loads(result.read_text()))
    )
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    (tmp_path / "someones_benchmarked.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ("--method", "someones_benchmarked:accepted_steps", "--minus", "grpo", "--json", str(result))
    assert call(monkeypatch, accuracy, *small, *own) == 0
    line, less = (one for one in capsys.readouterr().out.splitlines() if "accepted_steps" in one)
    accepted = found["controls"]["step accepted"]["auc_harmful"]["value"]
    assert f"{accepted:.3f} [" in line and f"{accepted - 0.5:.3f} [" in less
    table = "\n".join(in_pairs(json.loads(result.read_text())))
    assert "after the warm start" not in table and "end of training: less `grpo` |" in table
    assert "| `accepted_steps` |" in table and '--minus "grpo"' in table
    with pytest.raises(SystemExit):
        call(monkeypatch, accuracy, *small, "--minus", "path_gain")
    assert "more than one row" in capsys.readouterr().err
    controlled = ("--set", "small", "--json", str(tmp_path / "lifted.json"))
    assert call(monkeypatch, lifted_controls, *small, *controlled) == 0
    table = json.loads((tmp_path / "lifted.json").read_text())["sets"]["small"]["end"]
    assert table["told_otherwise"] == 0
    assert table["methods"]["true distance, alone"]["auc_harmful"]["value"] == 1.0
    reader = ("--reader", str(out / "small" / "start" / "model"), "--groups", "2", "--json", str(result))
    assert call(monkeypatch, accuracy, *small, *reader) == 0
    read = json.loads(result.read_text())
    assert read["command"].endswith("--out DIR --stage end --reader model --dtype auto --groups 2")
    assert read["hindsight"]["position"] == "prefix" and read["sets"]["small"]["end"]["groups"] == 2
    assert {name.partition(",")[0] for name in read["sets"]["small"]["end"]["methods"]} == set(
        name for name in credit.names() if "teacher_logprobs" in credit.make(name).needs
    ) | {"opsd", "sdpo"}


def test_every_registered_method_has_a_row_or_a_reason() -> None:
    """And those with keys have one for each key."""
    named = {entry.method for entry in entries()}
    assert named | set(SKIPPED) == set(credit.names())
    assert sum(entry.method == "graph_gpo" for entry in entries()) == 3
    assert len(STAGES) == 3


def test_recordings_of_houses_keep_the_settings_they_were_made_with() -> None:
    """Whatever the demonstration, whose config they share, trains with today."""
    trained = {"small": (50, 1e-3, 0.008), "full": (30, 3e-4, 0.002)}
    cloned = {"small": (6000, 3, 3000), "full": (12000, 1, 0)}
    for name in ("small", "full"):
        config = SETS[name].settings()
        assert (config.updates, config.learner.lr, config.learner.muon_lr) == trained[name]
        chosen = config.warmstart
        assert (chosen.demonstrations, chosen.passes, chosen.novice_demonstrations) == cloned[name]
        assert (chosen.batch_rows, chosen.novice_mistake_rate) == (4, 0.4)
        assert (chosen.lr, chosen.muon_lr) == (4e-3, 0.0125)
        assert (chosen.hindsight_share, chosen.mistake_rate) == (0.15, 0.1)
    assert SETS["small"].settings(short=True).updates == 2


@pytest.mark.parametrize("module", [accuracy, lifted_controls, qval, truth, two_knobs])
def test_a_recording_that_is_not_there_is_named_with_the_command_that_makes_it(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a model is looked for, which a warm start by hand would not replace."""
    none = tmp_path / "none"
    named = ("--recordings", str(none), "--out", str(tmp_path))
    root = named if module is two_knobs else ("--out", str(none))
    with pytest.raises(SystemExit) as raised:
        call(monkeypatch, module, *root, "--set", "full", "--stage", "start")
    said = capsys.readouterr().err
    assert raised.value.code == 2 and str(none / "full" / "start") in said and not none.exists()
    assert f"make it with: python -m benchmarks.credit.record --out {none} --set full" in said


@pytest.mark.parametrize("module", [accuracy, qval, truth])
def test_a_stage_that_a_set_is_not_recorded_at_is_named(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of a table without rows, or of advice to record what never is."""
    with pytest.raises(SystemExit) as raised:
        call(monkeypatch, module, "--out", str(tmp_path), "--set", "pretrained", "--stage", "start", "end")
    said = capsys.readouterr().err
    assert raised.value.code == 2 and "pretrained is not recorded at end; its stages: start" in said


def test_a_method_that_is_not_there_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback: a name without quotes around its settings, or a setting that the method has not."""
    for words in (["path_gain", "idle_cost=0.3"], ["path_gain idle_costs=0.3"], ["path_gain idle_cost"]):
        with pytest.raises(SystemExit) as raised:
            call(monkeypatch, accuracy, "--out", str(tmp_path), "--method", *words)
        last = capsys.readouterr().err.splitlines()[-1]
        assert raised.value.code == 2 and "error: " in last and "idle_cost" in last


@pytest.mark.parametrize(
    ("module", "flag"),
    [(accuracy, "--groups"), (lifted_controls, "--groups"), (qval, "--states"), (truth, "--attempts")],
)
@pytest.mark.parametrize("number", ["0", "-3", "few"])
def test_a_number_of_nothing_is_an_error_of_one_line(
    module: object, flag: str, number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """No mean is taken over none."""
    with pytest.raises(SystemExit) as raised:
        call(monkeypatch, module, "--out", str(tmp_path), flag, number)
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        raised.value.code == 2 and f"argument {flag}: got {number!r}, expected a whole number from 1" in last
    )
