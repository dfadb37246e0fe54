"""The credit benchmark in the pages: one table a stage, and the picture beside it."""

from typing import Any

from benchmarks.report.parts import Result, origin

COLUMNS = (
    ("auc_failed", "AUC, lost"),
    ("auc_won", "AUC, won"),
    ("auc_unmixed", "AUC, unmixed"),
    ("r", "r with the policy's advantage"),
    ("pushed_down", "forward pushed down"),
    ("pushed_up", "harmful pushed up"),
    ("decisive", "on the decisive step"),
)


def accuracy(result: Result) -> list[str]:
    """Every method and control, the best in lost episodes first."""
    lines = []
    for name, stages in result["sets"].items():
        for stage, table in stages.items():
            steps, ceiling = table["steps"], table["ceiling"]
            lines += [
                f"**{name}, {stage} of training:** {table['groups']} groups, {table['episodes']} episodes, "
                f"success {table['success']:.0%}, {table['mixed']} groups mixed; of the steps "
                f"{steps['forward']:.0%} forward, {steps['wasted']:.0%} wasted and "
                f"{steps['harmful']:.0%} harmful. Half of the fresh attempts correlates with the other "
                f"half by {ceiling['value']:.2f} "
                f"({ceiling['n']} episodes).",
                "",
                f"| credit | {' | '.join(label for _, label in COLUMNS)} | tokens scored | CPU s |",
                "|---|" + "---|" * (len(COLUMNS) + 2),
            ]
            rows = {**table["controls"], **table["methods"]}
            for method in sorted(rows, key=lambda one: -rows[one]["auc_failed"]["value"]):
                shown = f"*control: {method}*" if method in table["controls"] else f"`{method}`"
                cells = [_cell(rows[method][key]) for key, _ in COLUMNS]
                cost = f"{rows[method]['tokens']:,} | {rows[method]['cpu_s']:,.1f}"
                lines.append(f"| {shown} | {' | '.join(cells)} | {cost} |")
            lines.append("")
    return [*lines, f"Intervals of 95 % over tasks; part: {result['part']}. {origin(result)}"]


def _cell(measure: dict[str, Any]) -> str:
    if not measure["n"]:
        return "-"
    return f"{measure['value']:.3f} [{measure['low']:.2f}, {measure['high']:.2f}]"
