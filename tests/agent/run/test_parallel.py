"""Runs by several processes: the run of one, written once, and what is left when a process ends."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from stepopsd_agent.cli import launching
from stepopsd_agent.cli.main import main
from stepopsd_agent.rollout import EnvironmentDownError
from stepopsd_agent.run.files.checkpoint import load_checkpoint, save_checkpoint
from stepopsd_agent.run.processes import _peer_gone
from stepopsd_wrappers import Episode
from tests.helpers.launched import (
    assert_same_run,
    ended,
    launched,
    rows,
    sampled,
    started,
    texts,
    wait_until,
)
from tests.helpers.runs import taught, train_arguments
from tests.helpers.text_env import make_episode

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed"),
]
EXACT = ("--updates=3", "--model.dtype=float64")
"""Adam makes a full step of a rounding error in a small gradient: in float32 no bound would hold anywhere."""


def _failed(error: str) -> Episode:
    """A record that an error ended."""
    whole = make_episode(num_steps=1)
    return replace(whole, steps=(whole.steps[0], replace(whole.steps[1], error=error)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that wins now and then."""
    folder = tmp_path_factory.mktemp("taught") / "model"
    taught().save(folder)
    return folder


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert main(train_arguments(model, out, *EXACT)) == 0
    return out


@pytest.mark.repeats
def test_two_processes_make_the_run_of_one(model: Path, alone: Path, tmp_path: Path) -> None:
    """The same episodes to the token, metrics, weights and counts; one process writes and prints."""
    out, log = tmp_path / "run", tmp_path / "log"
    assert launched(2, train_arguments(model, out, *EXACT), log) == [0, 0], texts(log, 2)
    assert_same_run(alone, out, 1e-8)
    first, second = (json.loads((run / "summary.json").read_text()) for run in (alone, out))
    assert first["tokens"] == second["tokens"]
    said = texts(log, 2)
    assert said[0].count("final: success") == 1 and not said[1]


@pytest.mark.repeats
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_run_which_goes_on_as_if_nothing_was(
    model: Path, alone: Path, tmp_path: Path, killed: int
) -> None:
    """The other one ends at once with one sentence; the run is continued by one process and by two."""
    out, log = tmp_path / "run", tmp_path / "log"
    both = started(2, train_arguments(model, out, *EXACT[1:], "--updates=300", "--checkpoint_every=1"), log)
    wait_until(lambda: (out / "metrics.jsonl").is_file() and len(rows(out)) > 2)
    both[killed].kill()
    assert ended(both, 60)[1 - killed] == 1
    words = texts(log, 2)[1 - killed].splitlines()
    assert [line for line in words if "a process of the run has ended" in line] == words[-1:]
    assert f"--resume {out}" in words[-1] and "Traceback" not in "".join(words)
    played = len(sampled(out))
    config = out / "config.yaml"
    done = len(rows(out)) - 1
    config.write_text(config.read_text().replace("updates: 300", f"updates: {done + 1}"))
    resume = ["train", f"--resume={out}"]
    assert (launched(2, resume, log) == [0, 0]) if killed else (main(resume) == 0)
    assert [row["update"] for row in rows(out)] == list(range(done + 2))
    assert sampled(out)[: len(sampled(alone))] == sampled(alone)[: len(sampled(out))]
    assert len(sampled(out)) >= played


def test_processes_that_read_different_checkpoints_make_no_update(model: Path, tmp_path: Path) -> None:
    """Of folders of their own: with equal weights, too, where an update would go wrong before it is seen."""
    out, copied, log = tmp_path / "0" / "run", tmp_path / "1" / "run", tmp_path / "log"
    assert main(train_arguments(model, out, *EXACT[1:], "--updates=1", "--checkpoint_every=1")) == 0
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("updates: 1\n", "updates: 2\n"))
    shutil.copytree(out, copied)
    path = max((copied / "checkpoints").iterdir())
    tensors, state = load_checkpoint(path)
    tensors["optimizer_0"] = {name: 2 * moment for name, moment in tensors["optimizer_0"].items()}
    shutil.rmtree(path)
    assert save_checkpoint(path.parent, update=1, tensors=tensors, state=state).name == path.name
    before = (out / "metrics.jsonl").read_bytes()
    codes = launched(2, ["train", f"--resume={tmp_path}/{{rank}}/run"], log)
    said = "".join(texts(log, 2))
    assert 2 in codes and 0 not in codes, said
    assert "the processes of the run have read different checkpoints" in said, said
    assert "Traceback" not in said and (out / "metrics.jsonl").read_bytes() == before


def test_a_command_for_one_process_refuses_several(tmp_path: Path) -> None:
    """It would do its work once in each; the first process says so."""
    log = tmp_path / "log"
    assert launched(2, ["eval", "--agent=random", f"--out={tmp_path / 'table.json'}"], log) == [2, 2]
    said = texts(log, 2)
    assert "eval works in one process, but a launcher started 2" in said[0] and not said[1]
    assert said[0].count("\n") == 1


@pytest.mark.parametrize("code", [2, 0])
def test_a_process_that_says_nothing_does_not_end_before_the_one_that_speaks(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The launcher ends all processes when one has ended badly, and the user would read no reason."""
    told = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launching, "FIRST_SPEAKS_S", 0.3)
    began = time.monotonic()
    with pytest.raises(SystemExit), launching.said_once():
        raise SystemExit(code)
    assert (time.monotonic() - began >= 0.3) == bool(code)


def test_what_every_process_finds_is_said_once(tmp_path: Path) -> None:
    """A model that is not there: one line, from whichever process came first.

    Here the first process keeps the store, which a launcher does otherwise: if it ends before the other one
    asks, that one speaks too.
    """
    log = tmp_path / "log"
    arguments = train_arguments(tmp_path / "none", tmp_path / "run")
    codes = launched(2, arguments, log)
    assert 2 in codes and 0 not in codes
    said = "".join(texts(log, 2))
    assert 1 <= said.count("there is no such folder") <= 2 and "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (RuntimeError("[enforce fail] gloo/transport/tcp/pair.cc: Connection closed by peer"), True),
        (dist.DistNetworkError("the server is not there"), True),
        (EnvironmentDownError((_failed("RetrieverError: Connection refused"),)), False),
        (ConnectionRefusedError("Connection refused"), False),
        (OSError(28, "No space left on device", "/runs/gloo/metrics.jsonl"), False),
    ],
)
def test_an_error_that_mentions_a_connection_is_not_taken_for_a_lost_process(
    error: Exception, gone: bool
) -> None:
    """A retriever that is down, or a folder of such a name, has to be told in its own words."""
    assert _peer_gone(error) == gone


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs")
def test_a_process_without_a_gpu_of_its_own_says_so(tmp_path: Path) -> None:
    """Each process takes the GPU with its number."""
    log, arguments = tmp_path / "log", train_arguments(tmp_path / "none", tmp_path / "run", "--device=cuda")
    assert launched(2, arguments, log) == [2, 2]
    assert ["device is 'cuda:0'" in texts(log, 2)[0], "device is 'cuda:1'" in texts(log, 2)[1]] == [True] * 2
