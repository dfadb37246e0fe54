"""Does credit that is right teach better? Accuracy of each method beside what it brought in training.

python -m benchmarks.credit.agreement --accuracy JSON --learning JSON [--set small] [--json OUT]

Reads two results: `benchmarks.credit.accuracy` (how well a method ranks the steps of recorded episodes of a
task set, mean over the stages at which it was measured) and `benchmarks.credit.learning` (success in training
above GRPO's at the same tasks), and correlates them by rank over the methods (Spearman). The two come from
different episodes, and the accuracy from other policies than those trained, so nothing is compared with
itself. The truth (`oracle`) is shown and left out of the correlation. The p-value is that of a permutation
test, two-sided. Methods rank otherwise in other houses: give the accuracy in those of the training
(``--set full``) as well.
"""

import argparse
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_result
from benchmarks.report.parts import Result
from stepopsd_agent.run.files import write_bytes_atomic

COMMAND = "python -m benchmarks.credit.agreement --accuracy JSON --learning JSON"
MEASURES = {
    "auc_failed": "AUC inside lost episodes",
    "auc_won": "AUC inside won episodes",
    "auc_harmful": "chance that a harmful step ranks lower",
    "r": "correlation with the policy's advantage",
}
TRUTH = "oracle"
"""The method whose credit is the truth; its accuracy is that of a control."""
PERMUTATIONS = 100_000
NEAR, APART = 0.09, 0.0065
"""In the picture: labels of points that are so near in accuracy stand so far apart in success."""


def name_in_accuracy(method: str) -> str:
    """The row of the accuracy table for a method as the learning benchmark names it."""
    plain, _, settings = method.partition(" ")
    if method == TRUTH:
        return "truth (optimal distance)"
    if plain == "path_gain" and not settings:
        return "path_gain, text keys"
    field, _, value = settings.partition("=")
    return f"{plain}, {value} keys" if field == "key" else f"{plain}, {field} {value}" if field else plain


def rows(accuracy: Result, learning: Result, task_set: str = "small") -> dict[str, dict[str, Any]]:
    """For every method its accuracy, the mean over the stages, and its success in training above GRPO's.

    A stage counts where the measure was taken: fresh attempts, for r, are not played at all of them.

    Raises:
        ValueError: the accuracy result lacks a method that was trained.
    """
    tables = accuracy["sets"][task_set].values()
    stages = [{**table["controls"], **table["methods"]} for table in tables]
    found = {}
    for method in learning["rows"]:
        name = name_in_accuracy(method)
        if any(name not in stage for stage in stages):
            raise ValueError(f"the accuracy result has no row {name!r} for {method!r}: measure it first")
        gain = learning["over_grpo"].get(method, {"value": 0.0, "ci95": [0.0, 0.0]})
        taken = {key: [stage[name][key] for stage in stages] for key in MEASURES}
        right = {key: _mean_taken(measures) for key, measures in taken.items()}
        found[method] = {**right, "over_grpo": gain["value"], "ci95": gain["ci95"]}
    return found


def _mean_taken(measures: list[dict[str, float]]) -> float:
    """Of the values behind which there are episodes; 0 if there is none."""
    values = [one["value"] for one in measures if one["n"]]
    return float(np.mean(values)) if values else 0.0


def rank_correlation(one: list[float], other: list[float], seed: int = 0) -> dict[str, float]:
    """Spearman's correlation, equal values at their mean rank, and the p-value of a permutation test."""
    a, b = (np.array([_mean_rank(values, x) for x in values]) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    rng = np.random.default_rng(seed)
    value = float(a @ b) / size
    drawn = np.array([rng.permutation(b) @ a for _ in range(PERMUTATIONS)]) / size
    extreme = int((np.abs(drawn) >= abs(value) - 1e-12).sum())
    return {"value": value, "p": (extreme + 1) / (PERMUTATIONS + 1), "n": len(one)}


def _mean_rank(values: list[float], x: float) -> float:
    return sum(value < x for value in values) + (sum(value == x for value in values) - 1) / 2


def draw(result: Result) -> bytes:
    """A PNG with a panel for every measure: a point for each method, with the interval of what it brought."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 8.5), layout="constrained")
    axes = picture.subplots(2, 2, sharey=True).flatten()
    for panel, (key, label) in zip(axes, MEASURES.items(), strict=True):
        labels: list[tuple[float, float]] = []
        for name, row in sorted(result["rows"].items(), key=lambda item: item[1]["over_grpo"]):
            colour = "C2" if name == TRUTH else "C3" if name.startswith("path_gain") else "C0"
            low, high = row["ci95"]
            panel.plot([row[key]] * 2, [low, high], color=colour, alpha=0.35, lw=1.5)
            panel.plot(row[key], row["over_grpo"], "o", color=colour, ms=5)
            near = [y for x, y in labels if abs(x - row[key]) < NEAR]
            labels.append((row[key], max([row["over_grpo"], *(y + APART for y in near)])))
            place, line = (labels[-1][0] + NEAR / 3, labels[-1][1]), {"arrowstyle": "-", "lw": 0.4}
            panel.annotate(
                name, (row[key], row["over_grpo"]), place, fontsize=7, va="center", arrowprops=line
            )
        panel.margins(x=0.2)
        rho = result["correlations"][key]
        panel.set_title(f"rank correlation {rho['value']:.2f} (p = {rho['p']:.3f})", fontsize=9)
        panel.set_xlabel(label, fontsize=9)
        panel.axhline(0, color="k", lw=0.7, alpha=0.5)
        panel.grid(alpha=0.25)
    picture.supylabel("success in training above GRPO's at the same tasks", fontsize=9)
    content = BytesIO()
    picture.savefig(content, format="png", dpi=90)
    return content.getvalue()


def main() -> int:
    """Print the table and the correlations; write figures and picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accuracy", type=Path, required=True, help="result of benchmarks.credit.accuracy")
    parser.add_argument("--learning", type=Path, required=True, help="result of benchmarks.credit.learning")
    parser.add_argument("--set", default="small", help="task set of the accuracy")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--picture", type=Path, default=None, help="draw them here")
    options = parser.parse_args()
    try:
        accuracy, learning = (
            json.loads(path.read_text("utf-8")) for path in (options.accuracy, options.learning)
        )
    except (OSError, ValueError) as error:
        parser.error(f"{error}; give the --json files of both benchmarks")
    if options.set not in accuracy["sets"]:
        known = ", ".join(sorted(accuracy["sets"]))
        parser.error(f"{options.accuracy} has no task set {options.set!r}; it has {known}")
    try:
        table = rows(accuracy, learning, options.set)
    except ValueError as error:
        parser.error(str(error))
    judged = [row for name, row in table.items() if name != TRUTH]
    gains = [row["over_grpo"] for row in judged]
    found = {key: rank_correlation([row[key] for row in judged], gains) for key in MEASURES}
    for name in sorted(table, key=lambda one: -table[one]["over_grpo"]):
        right = ", ".join(f"{key} {table[name][key]:.2f}" for key in MEASURES)
        print(f"{name:26} {table[name]['over_grpo']:+.3f} over GRPO; {right}")
    for key, rho in found.items():
        print(f"{key:12} rank correlation {rho['value']:+.2f}, p {rho['p']:.4f}, {rho['n']} methods")
    about = {"set": learning["set"], "accuracy_set": options.set, "seeds": learning["seeds"]}
    result = {**about, "rows": table, "correlations": found}
    if options.picture is not None:
        write_bytes_atomic(options.picture, draw(result))
    if options.json is not None:
        chosen = "" if options.set == "small" else f" --set {options.set}"
        write_result(options.json, result, f"{COMMAND}{chosen}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
