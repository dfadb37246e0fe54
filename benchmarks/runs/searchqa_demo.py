"""The demonstration on Search-QA: warm start, StepOPSD and GRPO on questions about synthetic encyclopedias.

    python -m benchmarks.runs.searchqa_demo --out runs/searchqa-demo [--seed 0] [--short]

The models are trained and evaluated on questions that need one search, and also evaluated on those that need
two. The result is a table, ``summary.json`` and ``curve.png``. The exit code is 1 if the target is missed:
StepOPSD at least 20 points above its warm start on held-out encyclopedias, all within 15 minutes. A
stopped demonstration resumes when the same command is given again.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.runs import demo
from benchmarks.runs.commands import alone, command, read
from stepopsd_agent.rollout import headline, table_text

CONFIG = demo.CONFIG.parent / "searchqa_quickstart.yaml"
RISE, MINUTES = 0.20, 15.0
HARDER = "2-hop"
SHORT = [
    "--warmstart.demonstrations", "24", "--updates", "2", "--rollout.tasks", "2", "--rollout.group_size", "4",
    "--eval.num_questions", "8", "--env.tier", "tiny", "--checkpoint_every", "1",
    "--model.hidden_size", "64", "--model.num_layers", "2",
]  # fmt: skip


def players(out: Path) -> dict[str, list[str]]:
    """Rows of the table, with the flags of ``stepopsd eval`` for each."""
    trained = {f"after {method}": out / method / "model" for method in demo.PUBLISHED}
    models = {"warm start": out / "warmstart", **trained}
    return {
        "random agent": ["--agent", "random"],
        **{name: ["--model.path", str(folder)] for name, folder in models.items()},
    }


def harder_folder(out: Path, name: str) -> Path:
    """The folder with the evaluation of a row on the harder questions."""
    return out / HARDER / name.replace(" ", "-")


def evaluate_harder(out: Path, common: list[str]) -> None:
    """Evaluate on the questions that need two searches; finished evaluations are kept."""
    print(f"also: {HARDER} questions", file=sys.stderr)
    for name, flags in players(out).items():
        folder = harder_folder(out, name)
        if not (folder / "evaluation.json").exists():
            types = ["--eval.task_types", f"[{HARDER}]", "--threads", "2"]
            alone(command("eval", *demo.unseeded(common), *types, *flags, "--out", str(folder)))


def summarise(out: Path) -> dict[str, Any]:
    """The summary of all parts."""
    harder = {name: read(harder_folder(out, name) / "evaluation.json") for name in players(out)}
    rows = {name: headline(table) for name, table in harder.items()}
    found = demo.summarise(out, demo.PUBLISHED)
    return {**found, "schema": "stepopsd.searchqa_demo/2", f"rows_{HARDER}": rows}


def play(out: Path, common: list[str]) -> None:
    """Train and evaluate like the ALFWorld demonstration, then evaluate on the harder questions."""
    demo.run(out, common, demo.PUBLISHED)
    evaluate_harder(out, common)


def main() -> int:
    """Parse, run, print."""
    module = "benchmarks.runs.searchqa_demo"
    description = "Train a StepOPSD agent on questions about synthetic encyclopedias and compare it."
    arguments = demo.parse(f"python -m {module}", description, Path("runs/searchqa-demo"), CONFIG)
    return demo.demonstrate(demo.Parts(module, demo.PUBLISHED, SHORT, play, summarise, report), arguments)


def report(summary: dict[str, Any], out: Path, short: bool) -> int:
    """Print both tables, the paths of the results and the figures; return 1 if the target is missed."""
    print(table_text("agent, 1-hop questions", summary["rows"], "questions"))
    print(table_text(f"agent, {HARDER} questions", summary[f"rows_{HARDER}"], "questions"))
    print(f"run folder: {out}  (summary.json; look at {out}/curve.png, or: tensorboard --logdir {out})")
    rise, minutes = summary["rise"]["step_opsd"], summary["wall_s"] / 60
    final, reached = summary["rows"]["after step_opsd"]["success"], rise >= RISE and minutes <= MINUTES
    verdict = "reached" if reached else "not asked of the short form" if short else "missed"
    print(
        f"step_opsd {final:.0%}, {rise * 100:+.0f} points over its warm start, "
        f"{minutes:.1f} minutes; target {RISE * 100:+.0f} points in {MINUTES:.0f} minutes: {verdict}"
    )
    return 0 if reached or short else 1


if __name__ == "__main__":
    raise SystemExit(main())
