"""Commands in several processes that find each other as those of `torchrun` do."""

import json
import multiprocessing
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stepopsd_agent.cli.main import main


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def started(count: int, arguments: Sequence[str], log: Path) -> list[BaseProcess]:
    """The processes of one command; what each prints goes to ``log`` with its number behind it.

    They come from a server that has imported everything already. `{rank}` in an argument is the number of the
    process, for disks of their own.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.launched", "tests.helpers.runs"])
    port = free_port()
    processes = [
        context.Process(
            target=_command,
            args=([a.replace("{rank}", str(rank)) for a in arguments], rank, count, port, f"{log}{rank}"),
        )
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    return list(processes)


def launched(count: int, arguments: Sequence[str], log: Path) -> list[int | None]:
    """The exit codes of the processes of one command."""
    return ended(started(count, arguments, log))


def ended(processes: Sequence[BaseProcess], patience: float = 120) -> list[int | None]:
    """The exit codes, once all have ended."""
    for process in processes:
        process.join(patience)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def wait_until(happened: Callable[[], bool], patience: float = 120) -> None:
    """Look every few milliseconds."""
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def texts(log: Path, count: int) -> list[str]:
    """What each process printed; PyTorch 2.9 has Gloo tell of its connections, whatever the settings."""
    said = [Path(f"{log}{rank}").read_text() for rank in range(count)]
    return [re.sub(r"^\[Gloo\] Rank .*\n", "", text, flags=re.M) for text in said]


def _command(arguments: list[str], rank: int, count: int, port: int, log: str) -> None:
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    code = main(arguments)
    sys.stdout.flush()
    raise SystemExit(code)


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def sampled(run: Path) -> list[tuple[str, list[list[int]]]]:
    """Task and sampled tokens of every recorded episode, in order."""
    lines = [line for path in sorted((run / "episodes").glob("*.jsonl")) for line in path.open()]
    return [
        (record["task_id"], [step["tokens"]["sampled_ids"] for step in record["steps"] if step.get("tokens")])
        for record in map(json.loads, lines)
    ]


def newest(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of the newest checkpoint by file."""
    folder = max((run / "checkpoints").iterdir())
    return {path.stem: load_file(path) for path in folder.glob("*.safetensors")}


def assert_same_run(one: Path, other: Path, most: float) -> None:
    """The same tokens; numbers that differ by rounding alone.

    Evaluations are left out: a run also makes one at the end of a sitting.
    """
    assert sampled(one) == sampled(other)
    for first, second in zip(rows(one), rows(other), strict=True):
        first.pop("eval", None), second.pop("eval", None)
        assert first.keys() == second.keys()
        for name, value in first.items():
            if isinstance(value, float):
                assert abs(value - second[name]) <= most * max(1.0, abs(value)), (first["update"], name)
            else:
                assert value == second[name], (first["update"], name)
    left, right = newest(one), newest(other)
    assert left.keys() == right.keys()
    for file, tensors in left.items():
        assert tensors.keys() == right[file].keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, right[file][name], atol=most, rtol=0, msg=f"{file} {name}")
