"""The demonstration: warm start, then StepOPSD and GRPO at the same budget and seed, the random agent beside them.

    python -m benchmarks.demo --out runs/demo [--seed 0] [--short]

Ends with a table, ``summary.json`` and ``curve.png``. Exit 1 when the stated target is missed: StepOPSD at least 30 points above
its warm start and at least 70 % on 100 held-out games. A demonstration that was stopped goes on where it stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stepopsd_agent.curve import plot_curve
from stepopsd_agent.facts import environment_facts
from stepopsd_agent.files import write_json_atomic

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "alfworld_quickstart.yaml"
METHODS = ("step_opsd", "grpo")
RISE, FLOOR = 0.30, 0.70
SHORT = [
    "--warmstart.demonstrations", "60", "--updates", "2", "--rollout.tasks", "2", "--rollout.group_size", "4",
    "--eval.num_games", "8", "--env.tier", "tiny", "--env.step_limit", "12", "--checkpoint_every", "1",
]  # fmt: skip


def command(name: str, *arguments: str) -> list[str]:
    """A ``stepopsd`` command line in this interpreter."""
    return [sys.executable, "-m", "stepopsd_agent.cli", name, *arguments]


def train_command(method: str, out: Path, common: list[str]) -> list[str]:
    """Start a run, or continue it when its folder is there already."""
    if (out / method / "config.yaml").exists():
        return command("train", "--resume", str(out / method))
    return command(
        "train",
        *common,
        "--credit.method",
        method,
        "--model.path",
        str(out / "warmstart"),
        "--out",
        str(out / method),
    )


def together(commands: list[list[str]]) -> None:
    """Run commands side by side, one core each; stop with the first bad exit code."""
    running = [subprocess.Popen(c, env={**os.environ, "OMP_NUM_THREADS": "1"}) for c in commands]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        codes = [
            process.wait() for process in running
        ]  # they got the signal too and are writing their checkpoints
        raise
    if any(codes):
        raise SystemExit(next(code for code in codes if code))


def read(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Agents and their success, one line each."""
    lines = [f"{'agent':<28}{'success':>9}{'95 % interval':>18}{'games':>8}"]
    for name, row in rows.items():
        low, high = row["ci95"]
        lines.append(f"{name:<28}{row['success']:>9.1%}{f'{low:.1%} to {high:.1%}':>18}{row['n']:>8}")
    return "\n".join(lines)


def run(out: Path, common: list[str]) -> dict[str, Any]:
    """Everything up to the summary."""
    if not (out / "warmstart" / "warmstart.json").exists():
        together([command("warmstart", *common, "--threads", "2", "--out", str(out / "warmstart"))])
    pending = [method for method in METHODS if not (out / method / "summary.json").exists()]
    together([train_command(method, out, common) for method in pending])
    together([command("eval", *common, "--agent", "random", "--out", str(out / "random"))])
    runs = {method: read(out / method / "summary.json") for method in METHODS}
    random = read(out / "random" / "evaluation.json")
    main = runs["step_opsd"]
    return {
        "schema": "stepopsd.demo/1",
        "start": main["start"],
        "final": main["final"],
        "rise": main["final"]["success"] - main["start"]["success"],
        "rows": {
            "random agent": {k: random[k] for k in ("success", "n", "ci95")},
            "warm start": main["start"],
            **{f"after {method}": summary["final"] for method, summary in runs.items()},
        },
        "by_task_type": {method: summary["by_task_type"] for method, summary in runs.items()},
        "tokens": {method: summary["tokens"] for method, summary in runs.items()},
        "env_steps": {method: summary["env_steps"] for method, summary in runs.items()},
        "train_wall_s": {method: summary["wall_s"] for method, summary in runs.items()},
        "fingerprint": main["fingerprint"],
    }


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description="Train a StepOPSD agent on generated ALFWorld games and compare it."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, games order and sampling")
    parser.add_argument("--config", type=Path, default=CONFIG, help="config of every part")
    parser.add_argument("--json", type=Path, default=None, help="also write the summary here")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a minute instead of fifteen: shows that it runs, not that it learns",
    )
    arguments = parser.parse_args()
    began = time.perf_counter()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    common = [
        "--config",
        str(arguments.config),
        "--seed",
        str(arguments.seed),
        *(SHORT if arguments.short else []),
    ]
    summary = run(out, common)
    summary |= {
        "wall_s": round(time.perf_counter() - began, 1),
        "seed": arguments.seed,
        "command": " ".join(sys.argv),
    }
    summary |= environment_facts()
    for path in filter(None, (out / "summary.json", arguments.json)):
        write_json_atomic(path, summary)
    plot_curve({method: out / method / "metrics.jsonl" for method in METHODS}, out / "curve.png")
    print(table(summary["rows"]))
    print(f"run folder: {out}  (summary.json; look at {out}/curve.png, or tensorboard --logdir {out})")
    reached = summary["rise"] >= RISE and summary["final"]["success"] >= FLOOR
    print(
        f"step_opsd {summary['final']['success']:.0%}, {summary['rise'] * 100:+.0f} points over its warm start, "
        f"{summary['wall_s'] / 60:.1f} minutes; target 70 % and +30 points: {'reached' if reached else 'missed'}"
    )
    return 0 if reached or arguments.short else 1


if __name__ == "__main__":
    raise SystemExit(main())
