"""Does a credit method put credit on the steps that deserve it? Every registered method, and the controls.

    python -m benchmarks.credit.accuracy --out DIR [--set small] [--stage start] [--method NAME ...]

``DIR`` holds the recordings of `benchmarks.credit.record`, and, for the last columns, the Monte-Carlo values
of `benchmarks.credit.truth`. ``--method`` judges only the named methods ("module:name" for one outside the
package, "name field=value" for one with other settings). The columns of the table:

- AUC failed, won: chance that a step which brings the goal nearer has more credit than another step of the
  same episode, in lost and in won episodes of groups with both; AUC unmixed in groups without.
- r: correlation of credit and the acting policy's own advantage, from fresh attempts, within episodes.
- pushed down, pushed up: share of forward steps with negative, and of harmful steps with positive credit.
- decisive: share of an episode's credit on the step whose advantage is largest.

Intervals (95 %) are from a bootstrap over tasks. ``--short`` judges 8 groups.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.credit.picture import draw
from benchmarks.credit.recording import Cost, Recording, load_recording
from benchmarks.credit.sets import PARTS, SETS, STAGES, folder
from benchmarks.output import write_result
from stepopsd_agent.accuracy import (
    CONTROLS,
    Array,
    Entry,
    Judged,
    Measure,
    ceiling,
    control_credit,
    entries,
    figures,
    judged,
    read_values,
    split,
    step_credit,
)

COMMAND = "python -m benchmarks.credit.accuracy --out DIR"
MEASURES = ("auc_failed", "auc_won", "auc_unmixed", "r", "pushed_down", "pushed_up", "decisive")


def judge(recording: Recording, entry: Entry, truth: Judged) -> dict[str, Any]:
    """The row of a method."""
    method = entry.make()
    recording.prepare(method.needs)
    began = time.process_time()
    per_step = [step_credit(batch, method(batch)) for batch in recording.batches]
    cost = [recording.costs[name] for name in method.needs if name in recording.costs]
    total = Cost(
        sum(one.tokens for one in cost), sum(one.seconds for one in cost) + time.process_time() - began
    )
    return row(split(recording.batches, per_step), truth, total)


def row(credits: Sequence[Array], truth: Judged, cost: Cost) -> dict[str, Any]:
    """Figures and cost, as JSON."""
    found = {name: vars(measure) for name, measure in figures(credits, truth).items()}
    return {**found, "tokens": cost.tokens, "cpu_s": round(cost.seconds, 2)}


def controls(recording: Recording, truth: Judged) -> dict[str, dict[str, Any]]:
    """The rows of the controls, of the truth itself, and of the truth in a random order."""
    rows = {}
    for name in CONTROLS:
        per_step = [control_credit(name, batch) for batch in recording.batches]
        rows[name] = row(split(recording.batches, per_step), truth, Cost())
    rng = np.random.default_rng(0)
    rows["truth, shuffled"] = row([rng.permutation(steps) for steps in truth.progress], truth, Cost())
    rows["truth (optimal distance)"] = row(truth.progress, truth, Cost())
    return rows


def result(
    root: Path, name: str, stage: Any, part: Any, methods: list[Entry], most: int | None
) -> dict[str, Any]:
    """The table of one recording."""
    recording = load_recording(root, name, stage, part, most)
    values = folder(root, name, stage, part) / "values.jsonl"
    episodes = [episode for part_ in recording.parts for episode in part_]
    truth = judged(episodes, read_values(values) if values.exists() else [])
    rows = {}
    for entry in methods:
        rows[entry.name] = judge(recording, entry, truth)
        print(f"{name} {stage} {part}: {entry.name}", file=sys.stderr)
    steps = np.concatenate(truth.progress)
    return {
        "episodes": len(episodes),
        "groups": len(set(truth.tasks)),
        "mixed": len({t for t, m in zip(truth.tasks, truth.mixed, strict=True) if m}),
        "success": float(np.mean(truth.won)),
        "steps": {
            "forward": float((steps > 0).mean()),
            "wasted": float((steps == 0).mean()),
            "harmful": float((steps < 0).mean()),
        },
        "ceiling": vars(ceiling(truth.values)),
        "controls": controls(recording, truth),
        "methods": rows,
    }


def table(found: dict[str, Any]) -> str:
    """The figures as text, best in lost episodes first."""
    rows = {**found["controls"], **found["methods"]}
    order = sorted(rows, key=lambda name: -rows[name]["auc_failed"]["value"])
    shown = MEASURES[:4] if found["ceiling"]["n"] else MEASURES[:3]  # r takes fresh attempts
    lines = [f"{'':34}" + "".join(f"{name:>22}" for name in shown) + f"{'tokens':>10}{'cpu s':>8}"]
    for name in order:
        marked = f"[{name}]" if name in found["controls"] else name
        cells = "".join(f"{Measure(**rows[name][key])!s:>22}" for key in shown)
        lines.append(f"{marked:34}{cells}{rows[name]['tokens']:>10}{rows[name]['cpu_s']:>8}")
    return "\n".join(lines)


def main() -> int:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=sorted(SETS), nargs="+", default=["small"], help="task sets")
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES, help="stages of training")
    parser.add_argument("--part", choices=PARTS, default="test", help="tuning or test tasks")
    parser.add_argument("--method", nargs="+", default=None, help="only these methods")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--picture", type=Path, default=None, help="draw the first task set here")
    parser.add_argument("--short", action="store_true", help="8 groups only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = entries(options.method)
    found: dict[str, Any] = {}
    for name in options.set:
        for stage in options.stage:
            one = result(options.out, name, stage, options.part, methods, 8 if options.short else None)
            found.setdefault(name, {})[stage] = one
            mixed = f"{one['mixed']} of {one['groups']} groups mixed"
            print(f"\n{name}, {stage}: success {one['success']:.0%}, {mixed}")
            print(table(one))
    if options.picture is not None:
        name = options.set[0]
        draw(found[name], f"Credit accuracy, task set {name}, {options.part} tasks", options.picture)
    if options.json is not None:
        write_result(options.json, {"part": options.part, "sets": found}, COMMAND)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
