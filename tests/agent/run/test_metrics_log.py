"""Intervals, the metrics log with its resume, and what is written about a run."""

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stepopsd_agent.ops import proportion
from stepopsd_agent.ops.intervals import wilson
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import evaluations, plot_curve, read_rows, write_json_atomic
from stepopsd_agent.run.files.atomic import naming
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_agent.run.files.metrics_log import MetricsLog


def test_wilson_matches_hand_worked_interval() -> None:
    """For 8 of 10 the interval is (0.9921 -+ 0.2269) / 1.3842, worked out below."""
    # z^2 = 3.8416; denominator 1 + 3.8416/10 = 1.38416; centre 0.8 + 3.8416/20 = 0.99208;
    # half width 1.96 * sqrt(0.8*0.2/10 + 3.8416/400) = 1.96 * sqrt(0.016 + 0.009604) = 0.313624
    low, high = wilson(8, 10)
    assert low == pytest.approx((0.99208 - 0.313624) / 1.38416, abs=1e-5)
    assert high == pytest.approx((0.99208 + 0.313624) / 1.38416, abs=1e-5)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_mirrors(pair: tuple[int, int]) -> None:
    """The interval lies in [0, 1], holds successes / n, and that of the failures is its mirror image."""
    successes, n = pair
    low, high = wilson(successes, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= successes / n <= high
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_ends_are_exact_and_nothing_is_known_of_nothing() -> None:
    """No rounding at 0 and n successes; n = 0 gives the whole range."""
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    """More successes than tries, or fewer than none, is a mistake of the caller."""
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(successes, n)


def write_run(folder: Path, updates: range, resume_at: int | None = None) -> None:
    """Log rows whose values depend on the update alone, with timings that never repeat."""
    with MetricsLog(folder, resume_at) as log:
        for update in updates:
            log.write(update, {"loss": 0.1 / (update + 1), "eval": proportion(update, 10)}, {"s": id(log)})


def test_metrics_log_rows_are_sorted_exact_and_without_clock(tmp_path: Path) -> None:
    """A line holds sorted keys and floats that read back exactly; timings stand in their own file."""
    with MetricsLog(tmp_path) as log:
        log.write(3, {"b": 0.1 + 0.2, "a": 1}, {"seconds": 1.5})
        log.write(4, {"a": 2})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == ['{"a": 1, "b": 0.30000000000000004, "update": 3}', '{"a": 2, "update": 4}']
    assert read_rows(tmp_path / "timing.jsonl") == [{"seconds": 1.5, "update": 3}]


def test_metrics_log_of_equal_runs_is_equal(tmp_path: Path) -> None:
    """Two runs with equal values and different clocks write one and the same metrics.jsonl."""
    write_run(tmp_path / "a", range(4))
    write_run(tmp_path / "b", range(4))
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()


@pytest.mark.parametrize("torn", [b"", b'{"loss": 0.1, "upda', b'{"update": 5}\n{"update"'])
def test_metrics_log_resumed_equals_uninterrupted(tmp_path: Path, torn: bytes) -> None:
    """Rows after the checkpoint and a torn last line go; the resumed file is the uninterrupted one."""
    write_run(tmp_path / "whole", range(6))
    write_run(tmp_path / "killed", range(5))
    with (tmp_path / "killed/metrics.jsonl").open("ab") as file:
        file.write(torn)
    write_run(tmp_path / "killed", range(3, 6), resume_at=2)
    whole, killed = (tmp_path / name / "metrics.jsonl" for name in ("whole", "killed"))
    assert killed.read_bytes() == whole.read_bytes()
    assert [row["update"] for row in read_rows(tmp_path / "killed/timing.jsonl")] == list(range(6))


@pytest.mark.parametrize("left", [None, [], [0, 2], [0, 1], [1, 2]])
def test_metrics_log_does_not_go_on_without_its_rows(tmp_path: Path, left: list[int] | None) -> None:
    """A file that was removed, emptied or cut is named, and stays as it is."""
    write_run(tmp_path, range(4))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    if left is not None:
        path.write_bytes(b"".join(lines[number] for number in left))
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl has no rows of \d of the 3 updates so far"):
        MetricsLog(tmp_path, resume_at=2)
    assert (path.read_bytes() if path.exists() else None) == before


def test_metrics_log_refuses_to_overwrite_an_earlier_run(tmp_path: Path) -> None:
    """A new run in an old run's folder would lose its rows."""
    write_run(tmp_path, range(2))
    with pytest.raises(FileExistsError, match="earlier run"):
        MetricsLog(tmp_path)
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 2


def test_metrics_log_spells_numbers_that_json_lacks(tmp_path: Path) -> None:
    """NaN and infinities become strings that float() reads; the file stays JSON for every reader."""
    with MetricsLog(tmp_path) as log:
        log.write(1, {"nan": math.nan, "deep": {"list": [math.inf, -math.inf]}})
    row = read_rows(tmp_path / "metrics.jsonl")[0]
    assert row == {"deep": {"list": ["Infinity", "-Infinity"]}, "nan": "NaN", "update": 1}
    assert math.isnan(float(row["nan"]))


def test_metrics_log_writes_tensorboard_scalars_of_nested_rows(tmp_path: Path) -> None:
    """TensorBoard reads every number, nested ones under a path, at the row's update."""
    write_run(tmp_path, range(1, 4))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("eval/success")] == [
        (1, pytest.approx(0.1)),
        (2, pytest.approx(0.2)),
        (3, pytest.approx(0.3)),
    ]
    assert "timing/s" in events.Tags()["scalars"]


def test_full_disk_error_names_the_file_and_keeps_its_number(tmp_path: Path) -> None:
    """A failed write says which file and what to do; errno still tells a full disk."""
    with (
        pytest.raises(OSError, match=r"cannot write .*rows\.jsonl: No space left") as caught,
        naming(tmp_path / "rows.jsonl"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    assert "make room" in str(caught.value)


def test_write_json_atomic_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    """What cannot be written leaves the old file, and no temporary one."""
    path = tmp_path / "summary.json"
    write_json_atomic(path, {"b": 1, "a": [0.1]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_atomic(path, {"a": math.nan})
    with pytest.raises(TypeError):
        write_json_atomic(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": [0.1], "b": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["summary.json"]


def test_environment_facts_are_json_and_complete() -> None:
    """A summary can hold the facts as they are, and every fact is told."""
    facts = environment_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) == {"commit", "python", "platform", "packages", "hardware"}
    assert facts["packages"]["torch"] != "not installed"
    assert facts["hardware"]["cores"] >= 1
    assert all(facts["hardware"].values())


def test_plot_curve_draws_rows_and_run_folders_together(tmp_path: Path) -> None:
    """Two labelled runs, one from rows and one from its folder, make one readable picture."""
    write_run(tmp_path / "run", range(3))
    rows: list[dict[str, Any]] = [
        {"update": 0, "eval": proportion(2, 10)},
        {"update": 1, "train/success": 0.4},
        {"update": 2, "train/success": 0.5, "eval": proportion(6, 10)},
    ]
    plot_curve({"a": rows, "b": tmp_path / "run"}, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size[0] > 400
        assert len(set(picture.convert("RGB").resize((96, 54)).tobytes())) > 8  # not one flat colour


def test_an_evaluation_of_errors_alone_is_no_point_of_a_curve() -> None:
    """Its zero is not a success of zero: nothing is known."""
    rows: list[dict[str, Any]] = [
        {"update": 0, "eval": proportion(0, 4)},
        {"update": 1, "train/success": 0.4},
        {"update": 2, "eval": {**proportion(0, 0), "errors": 4}},
        {"update": 3, "eval": proportion(2, 4)},
    ]
    assert [(update, entry["success"]) for update, entry in evaluations(rows)] == [(0, 0.0), (3, 0.5)]
