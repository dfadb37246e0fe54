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
        for stage, table in in_order(stages).items():
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


STAGE = {"start": "after the warm start", "middle": "middle of training", "end": "end of training"}
HEADS = (("auc_failed", "lost"), ("auc_won", "won"), ("r", "r"))


def in_order(stages: dict[str, Any]) -> dict[str, Any]:
    """The tables of the stages as training goes through them; JSON has them by name."""
    return {stage: stages[stage] for stage in STAGE if stage in stages}


def summary(result: Result, task_set: str = "small") -> list[str]:
    """One row for every method and control, with AUC and r at each stage."""
    stages = in_order(result["sets"][task_set])
    heads = [f"{stage}: {label}" for stage in stages for _, label in HEADS]
    lines = [f"| credit | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    first = {**next(iter(stages.values()))["controls"], **next(iter(stages.values()))["methods"]}
    for name in sorted(first, key=lambda one: -first[one]["auc_failed"]["value"]):
        control = all(name in table["controls"] for table in stages.values())
        rows = [{**table["controls"], **table["methods"]}[name] for table in stages.values()]
        cells = [_short(row[key]) for row in rows for key, _ in HEADS]
        lines.append(f"| {f'*control: {name}*' if control else f'`{name}`'} | {' | '.join(cells)} |")
    told = [
        f"{STAGE[stage]}: success {table['success']:.0%}, {table['mixed']} of {table['groups']} groups mixed"
        for stage, table in stages.items()
    ]
    ceilings = ", ".join(_short(table["ceiling"]) for table in stages.values())
    return [
        *lines,
        "",
        f"{'; '.join(told)}. Half against half of the attempts: r {ceilings}. {origin(result)}",
    ]


def reader(result: Result) -> list[str]:
    """The same for methods whose teacher is another model, and how that model read."""
    told = result["hindsight"]
    gaps = [
        f"{name}, {stage}: {table['gap']:.3f}"
        for name, stages in result["sets"].items()
        for stage, table in in_order(stages).items()
    ]
    return [
        *summary(result),
        "",
        f"Read by `{result['reader']}` ({result['dtype']}); hindsight `{told['mode']}`, {told['peer']}, "
        f"{told['position']}, in {told['wording']}. Mean distance of teacher and student, nats a token of an "
        f"action: {'; '.join(gaps)}.",
    ]


def _short(measure: dict[str, Any]) -> str:
    """The figure with half the width of its interval."""
    return f"{measure['value']:.2f} ±{(measure['high'] - measure['low']) / 2:.2f}" if measure["n"] else "-"


def _cell(measure: dict[str, Any]) -> str:
    if not measure["n"]:
        return "-"
    return f"{measure['value']:.3f} [{measure['low']:.2f}, {measure['high']:.2f}]"
