"""Trackers, with the released packages and without a network."""

import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.cli import checks
from stepopsd_agent.config import chosen_trackers
from stepopsd_agent.run.files import read_rows
from stepopsd_agent.run.files.metrics_log import MetricsLog
from stepopsd_agent.run.files.tracking import TrackingError
from stepopsd_envs.extras import install_command
from tests.helpers.command_line import refusal

SECRETS = {"WANDB_API_KEY": "a1b2c3d4" * 5, "OPENAI_API_KEY": "sk-secret-of-a-test", "HF_TOKEN": "hf_secret"}


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that could be leaked, and no network."""
    for name, value in {**SECRETS, "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in ("WANDB_PROJECT", "TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def write(folder: Path, tracker: str, updates: range, resume_at: int | None = None) -> None:
    """Rows of a run with one tracker."""
    with MetricsLog(folder, resume_at, (tracker,), {"learner": {"lr": 0.125}}) as log:
        for update in updates:
            log.write(update, {"loss": 1 / (update + 1), "eval": {"success": 0.5}, "note": "text"}, {"s": 2})


def told_of_wandb(path: Path) -> Iterator[Any]:
    """Records of an offline run: a file header, then each with checksum, length and kind before it."""
    from wandb.proto import wandb_internal_pb2

    content, at = path.read_bytes(), 7
    while at < len(content):
        _, length, _ = struct.unpack_from("<IHB", content, at)
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content[at + 7 : at + 7 + length])
        yield record
        at += 7 + length


def await_end(path: Path) -> None:
    """Wait for the last record: a service of wandb writes the file, sometimes after its run was finished."""
    for _ in range(200):
        if any(record.WhichOneof("record_type") == "exit" for record in told_of_wandb(path)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end after 20 s")


def test_tracking_names_trackers_with_commas() -> None:
    """In their order; others are refused with what there is."""
    assert chosen_trackers("wandb, tensorboard") == ("wandb", "tensorboard")
    assert chosen_trackers("none") == ()
    for wrong in ("", "mlflow", "wandb,none"):
        with pytest.raises(
            ValueError, match=f"tracking is '{wrong}'; give one or more of tensorboard, wandb"
        ):
            chosen_trackers(wrong)
    with pytest.raises(ValueError, match="names 'wandb' twice"):
        chosen_trackers("wandb,wandb")


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_tracking_without_the_package_is_refused_first(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and nothing is written."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    flags = ["train", "--model.path=somewhere", f"--out={tmp_path / 'run'}"]
    line = refusal(capsys, *flags, f"--tracking=tensorboard,{package}")
    assert f"tracking names {package}, which needs {package}: {install_command(package)}" in line
    assert "give one or more of" in refusal(capsys, *flags, "--tracking=mlflow")
    assert not (tmp_path / "run").exists()


def test_tracking_by_none_writes_rows_alone(tmp_path: Path) -> None:
    """The run folder has what matters whatever else shows it."""
    with MetricsLog(tmp_path, None, ()) as log:
        log.write(0, {"loss": 1.0})
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "timing.jsonl"}


@pytest.mark.filterwarnings("error:.*gets no further metrics:UserWarning")
def test_tracking_by_wandb_works_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sittings of a run have its id and its name; numbers stand at their update; no key is anywhere."""
    pytest.importorskip("wandb")
    folder = tmp_path / "first"
    write(folder, "wandb", range(3))
    time.sleep(1.1)  # its folders are named by the second
    write(folder, "wandb", range(2, 4), resume_at=1)
    steps, ids = [], set()
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        await_end(path)
        for record in told_of_wandb(path):
            if record.HasField("run"):
                ids.add((record.run.run_id, record.run.display_name, record.run.project))
                assert any("0.125" in item.value_json for item in record.run.config.update)
            if record.HasField("history"):
                values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
                steps.append(record.history.step.num)
                assert float(values["loss"]) == pytest.approx(1 / (steps[-1] + 1))
                assert float(values["eval/success"]) == 0.5
    assert steps == [0, 1, 2, 2, 3] and len(ids) == 1
    assert next(iter(ids))[1:] == ("first", "stepopsd")
    assert capsys.readouterr().out == ""
    assert_no_secret(tmp_path)


def test_tracking_by_trackio_works_locally(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run in its database, continued; another folder of the same name is another run."""
    pytest.importorskip("trackio")
    write(tmp_path / "first", "trackio", range(3))
    write(tmp_path / "first", "trackio", range(3, 4), resume_at=2)
    write(tmp_path / "elsewhere" / "first", "trackio", range(1))
    with sqlite3.connect(tmp_path / "trackio" / "stepopsd.db") as database:
        rows = database.execute("select run_name, step from metrics order by id").fetchall()
        configs = database.execute("select config from configs").fetchall()
    names = list(dict.fromkeys(name for name, _ in rows))
    assert [step for name, step in rows if name == names[0]] == [0, 1, 2, 3]
    assert len(names) == 2 and all(name.startswith("first-") for name in names)
    assert b"0.125" in bytes(configs[0][0])
    assert capsys.readouterr().out == ""
    assert_no_secret(tmp_path)


def test_tracking_that_fails_later_leaves_the_run_alone(tmp_path: Path) -> None:
    """One warning; rows go on."""
    wandb = pytest.importorskip("wandb")
    with MetricsLog(tmp_path / "run", None, ("wandb", "tensorboard")) as log:
        log.write(0, {"loss": 1.0})
        wandb.finish()  # as if its process had gone
        with pytest.warns(UserWarning, match="wandb failed and gets no further metrics"):
            log.write(1, {"loss": 0.5})
        log.write(2, {"loss": 0.25})
    assert [row["loss"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")] == [1.0, 0.5, 0.25]


def test_tracking_that_cannot_begin_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, and without the token that stands in its address."""
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_SERVER_URL", "ftp://here?write_token=secret-of-a-test")
    with pytest.raises(
        TrackingError, match=r"trackio cannot be started: .*\*{3}.*--tracking wandb"
    ) as refused:
        MetricsLog(tmp_path / "run", None, ("trackio", "wandb"))
    assert "secret" not in str(refused.value)


def assert_no_secret(folder: Path) -> None:
    """In no file below it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    for path in files:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS.values()), path
