"""Runs started by the real launchers, and what they leave when a process is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import distributed as dist

from tests.helpers.launched import free_port, newest, rows, sampled, wait_until
from tests.helpers.runs import ROOT, environment, taught, train_arguments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.samples,
    pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed"),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc"),
]
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that wins now and then."""
    folder = tmp_path_factory.mktemp("taught") / "model"
    taught().save(folder)
    return folder


def begin(launcher: Sequence[str], arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command by a launcher; what its processes print goes to ``log``."""
    port = (
        f"--main_process_port={free_port()}"
        if "accelerate" in launcher[1]
        else f"--master-port={free_port()}"
    )
    command = [sys.executable, *launcher, port, "-m", "stepopsd_agent", *arguments]
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment(), cwd=ROOT)


def children(process: int) -> list[int]:
    """Processes that a process has started, in their order."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_run_and_it_goes_on_as_if_nothing_was(
    model: Path, tmp_path: Path, sharding: str, killed: int
) -> None:
    """Either process is killed under torchrun: one sentence; then the run of one that was not killed."""
    flags = (f"--learner.sharding={sharding}", "--checkpoint_every=2")
    out, log, calm = tmp_path / "run", tmp_path / "log", tmp_path / "calm"
    running = begin(TORCHRUN, train_arguments(model, out, "--updates=400", *flags), log)
    wait_until(lambda: (out / "metrics.jsonl").is_file() and len(rows(out)) > 3)
    os.kill(children(running.pid)[killed], signal.SIGKILL)
    assert running.wait(90) == 1
    assert log.read_text().count("a process of the run has ended") == 1
    done = len(rows(out)) - 1
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("updates: 400", f"updates: {done + 1}"))
    assert begin(TORCHRUN, ["train", f"--resume={out}"], log).wait(120) == 0, log.read_text()
    calmly = train_arguments(model, calm, f"--updates={done + 1}", *flags)
    assert begin(TORCHRUN, calmly, log).wait(120) == 0, log.read_text()
    assert rows(out) == rows(calm) and sampled(out) == sampled(calm)
    left, right = newest(out), newest(calm)
    assert all(left[file][name].equal(right[file][name]) for file in right for name in right[file])


def test_ctrl_c_finishes_the_update_in_every_process(model: Path, tmp_path: Path) -> None:
    """As in one process: a checkpoint, one line, and the way to continue."""
    out, log = tmp_path / "run", tmp_path / "log"
    running = begin(TORCHRUN, train_arguments(model, out, "--updates=400", "--checkpoint_every=400"), log)
    wait_until(lambda: (out / "metrics.jsonl").is_file() and len(rows(out)) > 2)
    running.send_signal(signal.SIGINT)
    assert running.wait(90) != 0
    text = log.read_text()
    assert text.count("nothing is lost. Continue with: ") == 1, text
    assert text.count("finishing the running update") == 1, text
    assert len(rows(out)) - 1 == max(row["update"] for row in rows(out))


def test_accelerate_launches_a_sharded_run(model: Path, tmp_path: Path) -> None:
    """The other launcher tells the processes the same."""
    pytest.importorskip("accelerate", reason="needs accelerate, of the extra dev")
    out, log = tmp_path / "run", tmp_path / "log"
    arguments = train_arguments(model, out, "--updates=1", "--learner.sharding=fsdp")
    assert begin(ACCELERATE, arguments, log).wait(120) == 0, log.read_text()
    assert len(rows(out)) == 2 and log.read_text().count("final: success") == 1
