"""The demonstration: warm start, StepOPSD and GRPO with the same budget and seed, and the random agent.

    python -m benchmarks.runs.demo --out runs/demo [--seed 0] [--short]

The result is a table, ``summary.json`` and ``curve.png``. The exit code is 1 if the target is missed:
StepOPSD at least 30 points above its warm start and at least 70 % on 100 held-out games. A stopped
demonstration resumes when the same command is given again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from stepopsd_agent.rollout import table_text
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import plot_curve, write_json_atomic

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "alfworld_quickstart.yaml"
METHODS = ("step_opsd", "grpo")
RISE, FLOOR = 0.30, 0.70
SHORT = [
    "--warmstart.demonstrations", "24", "--updates", "2", "--rollout.tasks", "2", "--rollout.group_size", "4",
    "--eval.num_games", "8", "--env.tier", "tiny", "--env.step_limit", "12", "--checkpoint_every", "1",
    "--model.hidden_size", "64", "--model.num_layers", "2",
]  # fmt: skip


def command(name: str, *arguments: str) -> list[str]:
    """A ``stepopsd`` command line with this interpreter."""
    return [sys.executable, "-m", "stepopsd_agent", name, *arguments]


def train_command(method: str, out: Path, common: list[str]) -> list[str]:
    """The command that starts a run, or resumes it if its folder exists."""
    if (out / method / "config.yaml").exists():
        return command("train", "--resume", str(out / method))
    method_flags = ["--credit.method", method, "--model.path", str(out / "warmstart")]
    return command("train", *common, *method_flags, "--out", str(out / method))


def alone(arguments: list[str]) -> None:
    """Run one command with access to the terminal, for its progress bars."""
    _finish([subprocess.Popen(arguments)])


def together(commands: Mapping[str, list[str]]) -> None:
    """Run commands in parallel, with one core each; every line of output begins with the command's name."""
    # Two progress bars would overwrite each other; with a dumb terminal there are plain lines instead.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
    running: list[subprocess.Popen[Any]] = []
    for name, arguments in commands.items():
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
        running.append(process)
    _finish(running)


def _repeat(lines: IO[str], name: str) -> None:
    for line in lines:
        print(f"{name:>10} | {line}", end="", file=sys.stderr, flush=True)


def _finish(running: "list[subprocess.Popen[Any]]") -> None:
    """Wait for all commands. If one fails, stop the others, which write a checkpoint to resume from.

    Raises:
        SystemExit: a command failed; has its exit code.
        KeyboardInterrupt: Ctrl-C; the commands got it as well and have finished their update.
    """
    try:
        codes = [process.poll() for process in running]
        while None in codes and not any(codes):
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


def run(out: Path, common: list[str]) -> None:
    """Run the parts, each in its own folder; finished parts are kept."""
    if not (out / "warmstart" / "warmstart.json").exists():
        print("1 of 3: warm start", file=sys.stderr)
        alone(command("warmstart", *common, "--threads", "2", "--out", str(out / "warmstart")))
    pending = [method for method in METHODS if not (out / method / "summary.json").exists()]
    if pending:
        print(f"2 of 3: training with {' and '.join(pending)}", file=sys.stderr)
        together({method: train_command(method, out, common) for method in pending})
    if not (out / "random" / "evaluation.json").exists():
        print("3 of 3: random agent", file=sys.stderr)
        alone(command("eval", *common, "--agent", "random", "--out", str(out / "random")))


def summarise(out: Path) -> dict[str, Any]:
    """The summary of all parts."""
    runs = {method: read(out / method / "summary.json") for method in METHODS}
    random = read(out / "random" / "evaluation.json")
    main = runs["step_opsd"]
    return {
        "schema": "stepopsd.demo/1",
        "start": main["start"],
        "final": main["final"],
        "rise": round(main["final"]["success"] - main["start"]["success"], 9),  # 0.70 - 0.40 is 0.30
        "rows": {
            "random agent": {k: random[k] for k in ("success", "n", "ci95")},
            "warm start": main["start"],
            **{f"after {method}": summary["final"] for method, summary in runs.items()},
        },
        **{
            key: {method: summary[key] for method, summary in runs.items()}
            for key in ("by_task_type", "tokens", "env_steps")
        },
        "train_wall_s": {method: summary["wall_s"] for method, summary in runs.items()},
        **{key: main[key] for key in ("fingerprint", "engine_version", "eval_fingerprint")},
    }


def spent_before(out: Path, settings: dict[str, Any]) -> float:
    """Seconds that earlier calls spent in this folder.

    Raises:
        SystemExit: the folder holds a demonstration with other settings.
    """
    path = out / "sittings.json"
    if not path.exists():
        return 0.0
    found = read(path)
    if found["settings"] != settings:
        print(
            f"benchmarks.runs.demo: error: {out} holds a demonstration with another seed, config or length; "
            "choose another folder for --out, or remove this one",
            file=sys.stderr,
        )
        raise SystemExit(2)
    return float(found["spent_s"])


def parse(prog: str, description: str, out: Path, config: Path) -> argparse.Namespace:
    """Parse the command line of a demonstration."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--out", type=Path, default=out, help="run folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, order of tasks and sampling")
    parser.add_argument("--config", type=Path, default=config, help="config of every part")
    parser.add_argument("--json", type=Path, default=None, help="also write the summary here")
    parser.add_argument(
        "--short", action="store_true", help="a minute: shows that it runs, not that it learns"
    )
    return parser.parse_args()


def demonstrate(
    module: str,
    arguments: argparse.Namespace,
    play: Callable[[Path, list[str]], None],
    summary_of: Callable[[Path], dict[str, Any]],
    show: Callable[[dict[str, Any], Path, bool], int],
) -> int:
    """Run a demonstration, go on with one that was stopped, and write its summary and curve.

    Args:
        module: that is run, for the summary.
        arguments: as `parse` gives them.
        play: makes the parts that are missing in the run folder, with these flags for every command.
        summary_of: the figures, from the run folder.
        show: prints them; returns the exit code.
    """
    out: Path = arguments.out
    settings = {
        "seed": arguments.seed,
        "short": arguments.short,
        "config": arguments.config.read_text(encoding="utf-8"),
    }
    spent, began = spent_before(out, settings), time.perf_counter()
    common = ["--config", str(arguments.config), "--seed", str(arguments.seed)]
    common += SHORT if arguments.short else []
    out.mkdir(parents=True, exist_ok=True)
    try:
        play(out, common)
    except KeyboardInterrupt:
        print("stopped; the same command resumes from here", file=sys.stderr)
        return 1
    finally:
        spent += time.perf_counter() - began
        write_json_atomic(out / "sittings.json", {"settings": settings, "spent_s": spent})
    summary = {
        **summary_of(out),
        "wall_s": round(spent, 1),
        "seed": arguments.seed,
        "command": f"python -m {module} --seed {arguments.seed}{' --short' * arguments.short}",
        **environment_facts(),
    }
    for path in filter(None, (out / "summary.json", arguments.json)):
        write_json_atomic(path, summary)
    plot_curve({method: out / method / "metrics.jsonl" for method in METHODS}, out / "curve.png")
    return show(summary, out, arguments.short)


def main() -> int:
    """Parse, run, print."""
    module = "benchmarks.runs.demo"
    description = "Train a StepOPSD agent on generated ALFWorld games and compare it."
    arguments = parse(f"python -m {module}", description, Path("runs/demo"), CONFIG)
    return demonstrate(module, arguments, run, summarise, report)


def report(summary: dict[str, Any], out: Path, short: bool) -> int:
    """Print the table, the paths of the results and the figures; return 1 if the target is missed."""
    print(table_text("agent", summary["rows"]))
    print(f"run folder: {out}  (summary.json; look at {out}/curve.png, or: tensorboard --logdir {out})")
    final, rise, minutes = summary["final"]["success"], summary["rise"], summary["wall_s"] / 60
    reached = rise >= RISE and final >= FLOOR
    print(
        f"step_opsd {final:.0%}, {rise * 100:+.0f} points over its warm start, {minutes:.1f} minutes; "
        f"target {FLOOR:.0%} and {RISE * 100:+.0f} points: {'reached' if reached else 'missed'}"
    )
    return 0 if reached or short else 1


if __name__ == "__main__":
    raise SystemExit(main())
