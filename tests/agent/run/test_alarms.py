"""Alarms: what raises them, what follows, and that a continued run raises the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from stepopsd_agent.cli.main import main
from stepopsd_agent.config import AlarmConfig, AlarmsConfig
from stepopsd_agent.run.alarms import AlarmState, stopping, update_alarms
from stepopsd_agent.run.files import read_rows
from stepopsd_agent.run.files.checkpoint import latest_checkpoint
from stepopsd_agent.run.repetition import repetition_metrics
from tests.agent.batch.test_batch import episode, tokens
from tests.helpers.command_line import refusal
from tests.helpers.runs import train_arguments

CALM = {
    "signal/gap_act": 0.5,
    "update/clip_fraction": 0.01,
    "credit/step_entropy": 0.9,
    "train/mixed_groups": 0.5,
    "train/tokens_per_step": 10.0,
    "signal/repeated_steps": 0.1,
    "signal/repeated_ngrams": 0.0,
    "update/kl": 0.01,
    "update/approx_kl": -0.001,
    "mismatch/kl": 0.002,
}
NOISY: dict[str, dict[str, float]] = {
    "gap": {"signal/gap_thought": 9.0},
    "clip": {"update/clip_fraction": 0.7},
    "credit": {"credit/step_entropy": 0.01},
    "flat": {"train/mixed_groups": 0.0},
    "short": {"train/tokens_per_step": 1.0},
    "long": {"train/tokens_per_step": 90.0},
    "repetition": {"signal/repeated_ngrams": 0.95},
    "kl": {"update/approx_kl": -3.0},
    "mismatch": {"mismatch/kl": 0.3},
    "skipped": {"update/skipped": 4.0},
}
"""For each alarm the metrics that raise it, and it alone."""


def after(rows: list[dict[str, float]], config: AlarmsConfig, begin: AlarmState | None = None) -> AlarmState:
    """What is remembered after these updates."""
    state = begin or AlarmState()
    for row in rows:
        done = state.raised[-1].update if state.raised else 0
        state = update_alarms(state, row, done + 1, config)
    return state


def names(state: AlarmState) -> list[str]:
    """The alarms that were raised, in order."""
    return [alarm.name for alarm in state.raised]


@pytest.mark.parametrize("name", NOISY)
def test_alarm_is_raised_by_its_own_signal_alone(name: str) -> None:
    """After three calm updates two noisy ones; then silence, and once more."""
    config = AlarmsConfig(window=2)
    calm, noisy = CALM, {**CALM, **NOISY[name]}
    once = after([calm] * 3 + [noisy] * 4, config)
    assert names(once) == [name]
    assert names(after([calm] * 3 + [noisy], AlarmsConfig(window=4))) == []
    assert names(after([calm] * 2 + [noisy] * 2, config, once)) == [name, name]


@pytest.mark.parametrize("name", NOISY)
def test_alarm_says_what_it_saw(name: str) -> None:
    """The mean over the window, the threshold, and on which side of it."""
    state = after([CALM] * 2 + [{**CALM, **NOISY[name]}] * 2, AlarmsConfig(window=2))
    (alarm,) = state.raised
    side = "below" if name in ("credit", "short") else "above"
    assert str(alarm).startswith(f"{name}: ") and f"{alarm.value:.3g}, {side} {alarm.at:g}" in str(alarm)


def test_alarm_takes_what_is_no_number_for_too_much() -> None:
    """A mean that is not a number would cross no threshold."""
    assert names(after([{**CALM, "update/kl": float("nan")}], AlarmsConfig(window=1))) == ["kl"]


def test_alarm_can_be_switched_off() -> None:
    """Then nothing is raised."""
    config = AlarmsConfig(window=1, kl=AlarmConfig(1.0, "off"))
    assert names(after([{**CALM, **NOISY["kl"]}] * 3, config)) == []


def test_alarm_lowers_again_while_it_does_not_help() -> None:
    """Each time after a whole window; a quarter of lambda_mix is left after two."""
    config = AlarmsConfig(window=3, lower_by=0.5, kl=AlarmConfig(1.0, "lower"))
    noisy = {**CALM, **NOISY["kl"]}
    assert after([noisy] * 5, config).factor == 0.5
    twice = after([noisy] * 6, config)
    assert twice.factor == 0.25 and names(twice) == ["kl", "kl"]
    assert after([CALM] * 9, config, twice).factor == 0.25


def test_alarm_waits_for_updates_that_measure() -> None:
    """Where no group is left to learn from there is no KL, and the mean stays as it was."""
    config = AlarmsConfig(window=2)
    rows = [{**CALM, **NOISY["kl"]}, {"train/mixed_groups": 0.5, "train/tokens_per_step": 10.0}]
    assert names(after(rows, config)) == []
    assert names(after([*rows, rows[0]], config)) == ["kl"]


def test_state_goes_through_json() -> None:
    """To the same, with which it goes on to the same."""
    config = AlarmsConfig(window=2, flat=AlarmConfig(0.9, "lower"))
    rows = [CALM, {**CALM, **NOISY["flat"]}, {**CALM, **NOISY["flat"], **NOISY["gap"]}]
    state = after(rows, config)
    read = AlarmState.from_json(json.loads(json.dumps(state.to_json())))
    assert read == state and state.raised
    assert after(rows, config, read) == after(rows, config, state)
    assert AlarmState.from_json(AlarmState().to_json()) == AlarmState()


def test_stopping_heeds_the_settings_of_now() -> None:
    """A run goes on once its owner has raised the threshold or asks for a warning only."""
    config = AlarmsConfig(window=1, kl=AlarmConfig(1.0, "stop"))
    state = after([{**CALM, **NOISY["kl"]}], config)
    alarm = stopping(state, config)
    assert alarm is not None and "run stopped" in str(alarm)
    assert stopping(state, AlarmsConfig(window=1, kl=AlarmConfig(9.0, "stop"))) is None
    assert stopping(state, AlarmsConfig(window=1, kl=AlarmConfig(1.0, "warn"))) is None


@pytest.mark.samples
def test_run_alarm_lowers_what_a_schedule_scales(taught_model: Path, tmp_path: Path) -> None:
    """From the update after the one that raised it; a continued run remembers what was raised and lowered."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = ["--alarms.window=2", "--alarms.clip.at=-1", "--alarms.clip.do=lower"]
    assert main(train_arguments(taught_model, whole, *flags, "--schedule.kind=constant")) == 0
    rows = read_rows(whole / "metrics.jsonl")[1:]
    lowered = [row["credit/schedule"] for row in rows]
    assert lowered == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    shutil.copytree(whole, cut)
    for checkpoint in (cut / "checkpoints").glob("checkpoint-*"):
        if int(checkpoint.name.rsplit("-", 1)[1]) > 4:
            shutil.rmtree(checkpoint)
    assert main(["train", "--resume", str(cut)]) == 0
    assert read_rows(cut / "metrics.jsonl")[1:] == rows
    again, before = (json.loads((run / "summary.json").read_text())["alarms"] for run in (cut, whole))
    assert again == before and sum("lowered" in one["alarm"] for one in again) == 3


@pytest.mark.samples
def test_run_without_finite_gradients_stops_with_a_checkpoint(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After several updates, not at the first; the weights are those it began with."""
    out = tmp_path / "run"
    monkeypatch.setattr("torch.nn.utils.get_total_norm", lambda *given: torch.tensor(float("inf")))
    assert main(train_arguments(taught_model, out, "--alarms.window=3")) == 1
    assert "skipped: share of updates with a gradient that was not finite is 1" in capsys.readouterr().err
    rows = read_rows(out / "metrics.jsonl")
    assert [row.get("update/skipped") for row in rows] == [None, 1, 1, 1] and "update/loss" not in rows[1]
    assert latest_checkpoint(out / "checkpoints") == out / "checkpoints" / "checkpoint-000003"
    before, after = (load_file(folder / "model.safetensors") for folder in (taught_model, out / "model"))
    assert all(torch.equal(before[name], weight) for name, weight in after.items())


@pytest.mark.samples
def test_run_is_stopped_by_an_alarm_and_goes_on_when_told(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reason on screen, in the row and in the summary; a checkpoint, a model; stopped again until changed."""
    out = tmp_path / "run"
    flags = ["--alarms.window=3", "--alarms.repetition.at=-1", "--alarms.repetition.do=stop"]
    flags += [f"--alarms.{name}.do=off" for name in NOISY if name != "repetition"]
    assert main(train_arguments(taught_model, out, *flags)) == 1
    error = capsys.readouterr().err
    assert "update 3: alarm, repetition: share of repetitions is" in error
    assert f"alarms.repetition in {out / 'config.yaml'}, then: stepopsd train --resume {out}" in error
    rows = read_rows(out / "metrics.jsonl")
    assert [row["update"] for row in rows] == [0, 1, 2, 3]
    assert "eval" in rows[3] and len(rows[3]["alarms"]) == 1 and "alarms" not in rows[2]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["updates"] == 3 and summary["alarms"][0]["update"] == 3
    assert "run stopped" in summary["alarms"][0]["alarm"] and (out / "model" / "config.json").exists()

    before, kept = (out / "metrics.jsonl").read_bytes(), sorted((out / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["checkpoint-000002", "checkpoint-000003"]
    assert main(["train", "--resume", str(out)]) == 1
    assert (out / "metrics.jsonl").read_bytes() == before
    assert sorted((out / "checkpoints").iterdir()) == kept  # the one before the alarm is not pushed out
    saved = yaml.safe_load((out / "config.yaml").read_text())
    saved["alarms"]["repetition"]["do"] = "warn"
    (out / "config.yaml").write_text(yaml.safe_dump(saved))
    assert main(["train", "--resume", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["updates"] == 6


@pytest.mark.samples
def test_train_refuses_an_alarm_that_would_lower_nothing(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GRPO has no field that a schedule lowers, and a factor above 1 would raise one."""
    lower = "--alarms.kl.do=lower"
    flags = train_arguments(taught_model, tmp_path / "run", lower, "--credit.method=grpo")
    assert "alarms.kl.do is 'lower', but credit method 'grpo' has no field" in refusal(capsys, *flags)
    flags = train_arguments(taught_model, tmp_path / "run", lower, "--alarms.lower_by=2")
    assert "alarms.lower_by is 2.0; it lowers, so give 1 at most" in refusal(capsys, *flags)
    assert not (tmp_path / "run").exists()


def test_repetition_counts_steps_and_runs_of_tokens() -> None:
    """The same command three times in sight of one room; the first response stutters.

    Of its 9 runs of four tokens 4 are new; the others' 3 all are.
    """
    plain, stutter = (1, 2, 3, 4, 5, 6), (1, 2, 3, 4) * 3
    record = episode(*(tokens(1, *ids) for ids in (stutter, plain, plain)))
    alike = tuple(replace(step, observation="a room", action="look") for step in record.steps)
    shares = repetition_metrics([replace(record, steps=alike)])
    assert shares["signal/repeated_steps"] == pytest.approx(2 / 3)
    assert shares["signal/repeated_ngrams"] == pytest.approx(5 / (9 + 2 * 3))
    assert repetition_metrics([]) == {"signal/repeated_steps": 0.0, "signal/repeated_ngrams": 0.0}
