"""The demonstration: three credit methods from one warm start, and the accuracy of their credit.

    python -m benchmarks.runs.demo --out runs/demo [--seed 0] [--short]

The warm start clones an expert, leaving out its mistakes, so training has no cloned mistakes to unlearn.
PathGain (of this project), StepOPSD and GRPO train from it, two at a time, and are evaluated every ten
updates on the same 100 held-out houses; the random agent is evaluated for comparison. At the end the three
methods assign credit to the same attempts of the warm start (`benchmarks.runs.demo_credit`). The result is
printed and written to ``summary.json``, ``curve.png`` and ``episode.png``.

The exit code is 1 if the target is missed: the best of the three ends at least 20 points above the warm
start, and all three were evaluated at the same updates. The target does not say which one. A stopped
demonstration resumes when the same command is given again.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.runs.commands import alone, command, read, together, train_command, warm_start
from benchmarks.runs.demo_credit import credit_text
from stepopsd_agent.config import recipe
from stepopsd_agent.rollout import headline, table_text
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import plot_curve, read_rows, write_json_atomic

CONFIG = recipe("alfworld_quickstart")
PUBLISHED = ("step_opsd", "grpo")
METHODS = ("path_gain", *PUBLISHED)
RISE = 0.20
SHORT = [
    "--warmstart.demonstrations", "24", "--updates", "2", "--rollout.tasks", "2", "--rollout.group_size", "4",
    "--eval.num_games", "8", "--env.tier", "tiny", "--env.step_limit", "12", "--checkpoint_every", "1",
    "--model.hidden_size", "64", "--model.num_layers", "2", "--eval.every", "1",
]  # fmt: skip


def run(out: Path, common: list[str], methods: Sequence[str]) -> None:
    """Warm start, a training for each method, random agent, in their folders; finished ones are kept."""
    warm_start(out / "warmstart", *common)
    pending = [method for method in methods if not (out / method / "summary.json").exists()]
    if pending:
        print(f"training with {', '.join(pending)}; two at a time", file=sys.stderr)
        together({method: train_command(method, out, common) for method in pending})
    if not (out / "random" / "evaluation.json").exists():
        print("random agent", file=sys.stderr)
        alone(command("eval", *unseeded(common), "--agent", "random", "--out", str(out / "random")))


def unseeded(common: list[str]) -> list[str]:
    """The same flags without ``--seed`` and its value: evaluation has noise of its own, and says so."""
    at = common.index("--seed")
    return common[:at] + common[at + 2 :]


def play(out: Path, common: list[str]) -> None:
    """Train and evaluate the three methods, then compute their credit for the same attempts."""
    run(out, common, METHODS)
    if not (out / "credit.json").exists():
        print("credit", file=sys.stderr)
        alone([sys.executable, "-m", "benchmarks.runs.demo_credit", str(out), *METHODS])


def summarise(out: Path, methods: Sequence[str]) -> dict[str, Any]:
    """The summary of warm start, trainings and random agent."""
    runs = {method: read(out / method / "summary.json") for method in methods}
    random = read(out / "random" / "evaluation.json")
    first = runs[methods[0]]
    rows = {
        "random agent": headline(random),
        "warm start": first["start"],
        **{f"after {method}": summary["final"] for method, summary in runs.items()},
    }
    return {
        "schema": "stepopsd.demo/2",
        "rows": rows,
        "evaluations": {method: evaluations(out / method) for method in methods},
        "rise": {
            method: round(summary["final"]["success"] - summary["start"]["success"], 9)  # 0.70 - 0.40 is 0.30
            for method, summary in runs.items()
        },
        **{
            key: {method: summary[key] for method, summary in runs.items()}
            for key in ("by_task_type", "tokens", "env_steps")
        },
        "train_wall_s": {method: summary["wall_s"] for method, summary in runs.items()},
        **{key: first[key] for key in ("fingerprint", "engine_version", "eval_fingerprint")},
    }


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of a run in the order of its updates, each with ``update, success, n, ci95``."""
    rows = read_rows(folder / "metrics.jsonl")
    return [{"update": row["update"], **row["eval"]} for row in rows if "eval" in row]


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
        "--short", action="store_true", help="take about a minute: shows that it runs, not that it learns"
    )
    return parser.parse_args()


@dataclass(frozen=True)
class Parts:
    """The parts of a demonstration.

    Attributes:
        module: the module that is run, for the summary.
        methods: the methods that are trained.
        short: flags of every command with ``--short``.
        play: makes what is missing in the run folder, with these flags for every command.
        summarise: reads the figures from the run folder.
        report: prints them and returns the exit code.
    """

    module: str
    methods: Sequence[str]
    short: list[str]
    play: Callable[[Path, list[str]], None]
    summarise: Callable[[Path], dict[str, Any]]
    report: Callable[[dict[str, Any], Path, bool], int]


def demonstrate(parts: Parts, arguments: argparse.Namespace) -> int:
    """Run a demonstration, or resume one that was stopped, and write its summary and curve.

    Args:
        parts: the parts of the demonstration.
        arguments: as `parse` gives them.
    """
    out: Path = arguments.out
    settings = {
        "seed": arguments.seed,
        "short": arguments.short,
        "config": arguments.config.read_text(encoding="utf-8"),
    }
    spent, began = spent_before(out, settings), time.perf_counter()
    common = ["--config", str(arguments.config), "--seed", str(arguments.seed)]
    common += parts.short if arguments.short else []
    out.mkdir(parents=True, exist_ok=True)
    try:
        parts.play(out, common)
    except KeyboardInterrupt:
        print("stopped; the same command resumes from here", file=sys.stderr)
        return 1
    finally:
        spent += time.perf_counter() - began
        write_json_atomic(out / "sittings.json", {"settings": settings, "spent_s": spent})
    summary = {
        **parts.summarise(out),
        "wall_s": round(spent, 1),
        "seed": arguments.seed,
        "command": f"python -m {parts.module} --seed {arguments.seed}{' --short' * arguments.short}",
        **environment_facts(),
    }
    for path in filter(None, (out / "summary.json", arguments.json)):
        write_json_atomic(path, summary)
    plot_curve({method: out / method / "metrics.jsonl" for method in parts.methods}, out / "curve.png")
    return parts.report(summary, out, arguments.short)


def with_credit(out: Path) -> dict[str, Any]:
    """The summary, with the accuracy of the three methods' credit."""
    return {**summarise(out, METHODS), "credit": read(out / "credit.json")}


def main() -> int:
    """Parse, run, print."""
    module = "benchmarks.runs.demo"
    description = "Train agents with three credit methods on generated ALFWorld games and compare them."
    arguments = parse(f"python -m {module}", description, Path("runs/demo"), CONFIG)
    return demonstrate(Parts(module, METHODS, SHORT, play, with_credit, report), arguments)


def report(summary: dict[str, Any], out: Path, short: bool) -> int:
    """Print the tables, the paths of the results and the verdict; return 1 if the target is missed."""
    print(table_text("agent", summary["rows"]))
    print(f"\n{curve_text(summary['evaluations'])}\n\n{credit_text(summary['credit'], METHODS)}\n")
    print(f"run folder: {out}  (summary.json, curve.png, episode.png; or: tensorboard --logdir {out})")
    rise, minutes = summary["rise"], summary["wall_s"] / 60
    best = max(rise, key=lambda method: float(rise[method]))
    final, reached = summary["rows"][f"after {best}"], rise[best] >= RISE
    reached &= evaluated_alike(summary["evaluations"])
    verdict = "reached" if reached else "not asked of the short form" if short else "missed"
    print(
        f"best: {best} {final['success']:.0%}, {rise[best] * 100:+.0f} points over the warm start, "
        f"{minutes:.1f} minutes; target {RISE * 100:+.0f} points: {verdict}"
    )
    return 0 if reached or short else 1


def evaluated_alike(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether all were evaluated at the same updates, more than one, on as many games."""
    points = [[(one["update"], one["n"]) for one in evaluations] for evaluations in found.values()]
    return len(points[0]) > 1 and all(one == points[0] for one in points)


def curve_text(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Held-out success by update, a line for each method."""
    lines = ["success by update" + "".join(f"{one['update']:>8}" for one in next(iter(found.values())))]
    for method, evaluations in found.items():
        rates = (f"{one['success']:.0%}" if one["n"] else "-" for one in evaluations)
        lines.append(f"{method:17}" + "".join(f"{rate:>8}" for rate in rates))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
