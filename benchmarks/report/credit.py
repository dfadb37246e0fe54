"""The credit benchmark in the pages: one table a stage, and the picture beside it."""

from collections.abc import Collection, Sequence
from typing import Any

from benchmarks.report.parts import Result, origin, taken, without_module
from stepopsd_agent.accuracy import attainable

COLUMNS = (
    ("auc_failed", "AUC, lost"),
    ("auc_all_failed", "AUC, lost in all groups"),
    ("auc_won", "AUC, won"),
    ("auc_unmixed", "AUC, unmixed"),
    ("auc_harmful", "AUC, harmful below"),
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
            steps, ceiling, shown_columns = table["steps"], table["ceiling"], _measured(COLUMNS, [table])
            halves = (
                f" Half of the fresh attempts correlates with the other half by {ceiling['value']:.2f} "
                f"({ceiling['n']} episodes), so r of an exact credit would be about "
                f"{attainable(ceiling['value']):.2f}."
                if ceiling["n"]
                else ""
            )
            lines += [
                f"**{name}, {stage} of training:** {table['groups']} groups, {table['episodes']} episodes, "
                f"success {table['success']:.0%}, {table['mixed']} groups mixed; of the steps "
                f"{steps['forward']:.0%} forward, {steps['wasted']:.0%} wasted and "
                f"{steps['harmful']:.0%} harmful.{halves}",
                "",
                f"| credit | {' | '.join(label for _, label in shown_columns)} | tokens scored | CPU s |",
                "|---|" + "---|" * (len(shown_columns) + 2),
            ]
            rows = {**table["controls"], **table["methods"]}
            for method in sorted(rows, key=lambda one: -rows[one]["auc_failed"]["value"]):
                shown = f"*control: {method}*" if method in table["controls"] else f"`{method}`"
                cells = [_cell(rows[method][key]) for key, _ in shown_columns]
                cost = f"{rows[method]['tokens']:,} | {rows[method]['cpu_s']:,.1f}"
                lines.append(f"| {shown} | {' | '.join(cells)} | {cost} |")
            lines.append("")
    return [*lines, f"Intervals of 95 % over tasks; part: {result['part']}. {origin(result)}"]


STAGE = {"start": "after the warm start", "middle": "middle of training", "end": "end of training"}
HEADS = (
    ("auc_failed", "lost"),
    ("auc_all_failed", "all lost"),
    ("auc_won", "won"),
    ("auc_harmful", "harm"),
    ("r", "r"),
)
BY_ATTEMPTS = ("r", "decisive")
"""Figures that take fresh attempts."""


def _measured(
    columns: Sequence[tuple[str, str]], tables: Collection[dict[str, Any]]
) -> list[tuple[str, str]]:
    """The columns that the tables have, without those that take fresh attempts where none has any."""
    valued = any(table["ceiling"]["n"] for table in tables)
    known = set.intersection(*(set(row) for table in tables for row in table["controls"].values()))
    return [(name, label) for name, label in columns if name in known and (valued or name not in BY_ATTEMPTS)]


def in_order(stages: dict[str, Any]) -> dict[str, Any]:
    """The tables of the stages as training goes through them; JSON has them by name."""
    return {stage: stages[stage] for stage in STAGE if stage in stages}


def summary(result: Result, task_set: str = "small") -> list[str]:
    """One row for every method and control, with AUC and, where it was measured, r at each stage."""
    stages = in_order(result["sets"][task_set])
    columns = {stage: _measured(HEADS, [table]) for stage, table in stages.items()}
    heads = [f"{stage}: {label}" for stage in stages for _, label in columns[stage]]
    lines = [f"| credit | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    first = {**next(iter(stages.values()))["controls"], **next(iter(stages.values()))["methods"]}
    for name in sorted(first, key=lambda one: -first[one]["auc_failed"]["value"]):
        control = all(name in table["controls"] for table in stages.values())
        rows = {stage: {**table["controls"], **table["methods"]}[name] for stage, table in stages.items()}
        cells = [short(rows[stage][key]) for stage in stages for key, _ in columns[stage]]
        lines.append(f"| {f'*control: {name}*' if control else f'`{name}`'} | {' | '.join(cells)} |")
    told = [
        f"{STAGE[stage]}: success {table['success']:.0%}, {table['mixed']} of {table['groups']} groups mixed"
        for stage, table in stages.items()
    ]
    valued = [table["ceiling"] for table in stages.values() if table["ceiling"]["n"]]
    exact = ", ".join(f"{attainable(one['value']):.2f}" for one in valued)
    halves = (
        f" Half against half of the attempts: r {', '.join(map(short, valued))} "
        f"({', '.join(str(one['n']) for one in valued)} episodes), so r of an exact credit would be about "
        f"{exact}."
        if valued
        else ""
    )
    return [*lines, "", f"{'; '.join(told)}.{halves} {origin(result)}"]


QVAL = (
    ("prompted ranking", 0.456),
    ("delta-belief", 0.333),
    ("self-distillation (SDPO)", -0.138),
)
"""Published for one backbone of 26B on ALFWorld (arXiv 2606.32034); standard errors of about 0.07."""
QVAL_ERROR = 0.07


def within_state(result: Result) -> list[str]:
    """Ranks of the commands of a state: ours at each stage, and QVal's published figures below."""
    stages = in_order(result["stages"])
    heads = [f"{stage}: {kind}" for stage in stages for kind in ("all", "lost", "won")]
    lines = [f"| signal | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    first = next(iter(stages.values()))["signals"]
    for name in sorted(first, key=lambda one: -first[one]["all"]["value"]):
        rows = [table["signals"][name] for table in stages.values()]
        cells = [short(row[kind]) for row in rows for kind in ("all", "lost", "won")]
        shown = f"*control: {name}*" if name in WITHIN_STATE_CONTROLS else f"`{name}`"
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    facts = [
        f"{stage}: {table['states']} states of {table['tasks']} tasks, "
        f"{table['commands_per_state']:.1f} commands in each"
        for stage, table in stages.items()
    ]
    known = next(iter(stages.values()))["known"]
    return [
        *lines,
        "",
        f"Mean Spearman correlation with Q within a state; {'; '.join(facts)}. Share of the commands of "
        f"which a graph knows something, at the first of these stages: "
        f"{', '.join(f'`{name}` {share:.0%}' for name, share in known.items())}. {origin(result)}",
        "",
        "| QVal's published signals, ALFWorld, one backbone of 26B | mean Spearman |",
        "|---|---|",
        *(f"| {name} | {value:.2f} ±{1.96 * QVAL_ERROR:.2f} |" for name, value in QVAL),
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


WITHIN_STATE_CONTROLS = (
    "oracle's Q",
    "random order",
    "command changes the world",
    "policy's log-probability",
    "policy's log-probability, per token",
)


def short(measure: dict[str, Any]) -> str:
    """The figure with half the width of its interval."""
    if not measure["n"]:
        return "-"
    figures = f"{measure['value']:.2f} ±{(measure['high'] - measure['low']) / 2:.2f}"
    return figures.replace("0.", ".")  # many columns stand side by side


def _cell(measure: dict[str, Any]) -> str:
    if not measure["n"]:
        return "-"
    return f"{measure['value']:.3f} [{measure['low']:.2f}, {measure['high']:.2f}]"


def in_pairs(result: Result) -> list[str]:
    """The differences of every method from one, `--minus`, for each task set and stage."""
    lines, named = [], dict[str, None]()
    for name, stages in result["sets"].items():
        for stage, table in in_order(stages).items():
            columns = _measured(HEADS, [table])
            named |= dict.fromkeys(table["differences"])
            lines += [
                f"| {name}, {STAGE[stage]}: less `{table['minus']}` | "
                f"{' | '.join(label for _, label in columns)} |",
                "|---|" + "---|" * len(columns),
            ]
            less = table["differences"]
            for method in sorted(less, key=lambda one: -less[one][columns[0][0]]["value"]):
                cells = " | ".join(_signed(less[method][key]) for key, _ in columns)
                lines.append(f"| `{without_module(method)}` | {cells} |")
            lines.append("")
    about = "Differences in pairs, on the same drawn tasks, with intervals of 95 %"
    return [*lines, f"{about}; part: {result['part']}. {taken(named)}{origin(result)}"]


def _signed(figure: Result) -> str:
    return f"{figure['value']:+.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"
