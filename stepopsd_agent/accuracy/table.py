"""Tables of credit accuracy: the rows of methods and controls as JSON, and all of them as text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stepopsd_agent.accuracy.judging import figures, split
from stepopsd_agent.accuracy.measures import Array, Measure
from stepopsd_agent.accuracy.per_step import CONTROLS, control_credit
from stepopsd_agent.accuracy.truth import Judged
from stepopsd_agent.accuracy.words import rarity
from stepopsd_agent.batch import Batch
from stepopsd_wrappers import Episode

LABELS = {
    "auc_failed": "AUC lost",
    "auc_won": "AUC won",
    "auc_unmixed": "AUC unmixed",
    "auc_all_failed": "AUC all lost",
    "auc_harmful": "harm",
    "r": "r",
    "pushed_down": "pushed down",
    "pushed_up": "pushed up",
    "decisive": "decisive",
    "size": "size",
}
"""Column heads, in the words of the pages on credit, by the name of the measure."""
RARITY = "rare kind of command"
FEW = 20
"""Fewer tasks make the intervals of a bootstrap over them plainly too narrow (Cameron, Gelbach and Miller,
Review of Economics and Statistics 90, 2008)."""


def row(credits: Sequence[Array], truth: Judged, tokens: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    """Figures and cost of a method, as JSON.

    Args:
        credits: per episode, the credit of its steps.
        truth: of the same episodes.
        tokens: number of tokens that models read for it.
        seconds: CPU seconds that it took, on one core.
    """
    measured = {name: vars(measure) for name, measure in figures(credits, truth).items()}
    return {**measured, "tokens": tokens, "cpu_s": round(seconds, 2)}


def controls(
    batches: Sequence[Batch],
    truth: Judged,
    episodes: Sequence[Episode],
    further: Mapping[str, Callable[[Batch], Array]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The rows of the controls, of further ones, of the truth itself, and of the truth in a random order.

    A control that the records do not contain is left out: whether a step changed the world without the keys
    after steps, log-probabilities of an agent that is not a language model.

    Args:
        batches: of the episodes.
        truth: of the same episodes, in the same order.
        episodes: the records, in the same order.
        further: controls that only some recordings have, by name.
    """
    rows = {RARITY: row(rarity(episodes), truth)}
    for name in CONTROLS:
        if not all(_is_recorded(name, batch) for batch in batches):
            continue
        per_step = [control_credit(name, batch) for batch in batches]
        rows[name] = row(split(batches, per_step), truth)
    for name, control in (further or {}).items():
        rows[name] = row(split(batches, [control(batch) for batch in batches]), truth)
    rng = np.random.default_rng(0)
    rows["truth, shuffled"] = row([rng.permutation(steps) for steps in truth.progress], truth)
    rows["truth (optimal distance)"] = row(truth.progress, truth)
    return rows


def _is_recorded(control: str, batch: Batch) -> bool:
    if control == "step changed the world":
        return batch.steps.next_state is not None
    return control != "student's log-probability" or bool((batch.tokens.old_logprobs != 0).any())


def about(truth: Judged, groups: Sequence[int] | None = None) -> dict[str, Any]:
    """Counts of the judged episodes, and the kinds of their steps.

    Args:
        truth: of the episodes.
        groups: of each episode; `truth.tasks` when absent.
    """
    numbers, steps = truth.tasks if groups is None else groups, np.concatenate(truth.progress)
    return {
        "episodes": len(truth.won),
        "groups": len(set(numbers)),
        "mixed": len({number for number, mixed in zip(numbers, truth.mixed, strict=True) if mixed}),
        "success": float(np.mean(truth.won)),
        "steps": {
            "forward": float((steps > 0).mean()),
            "wasted": float((steps == 0).mean()),
            "harmful": float((steps < 0).mean()),
        },
    }


def heading(table: Mapping[str, Any], failed: int) -> str:
    """The judged episodes in a few lines, and what keeps their figures from telling more.

    Args:
        table: `about` the episodes, with the number of ``tasks`` and of episodes ``alone`` in their group.
        failed: number of episodes that met an error.
    """
    steps, tasks = table["steps"], table["tasks"]
    left = f"; {failed} that met an error are left out" if failed else ""
    lines = [
        f"{table['episodes']} episodes at {tasks} tasks in {table['groups']} groups, "
        f"{table['mixed']} of them with both outcomes; success {table['success']:.1%}{left}",
        f"of the steps {steps['forward']:.0%} bring the goal nearer, {steps['wasted']:.0%} leave it as far, "
        f"{steps['harmful']:.0%} lead away",
    ]
    if table["alone"]:
        lines.append(
            f"{table['alone']} episodes are alone in their group, but most methods compare members of a "
            "group: --group_by task puts all attempts at a task in one"
        )
    elif not table["mixed"]:
        lines.append("no group has both outcomes, which methods that compare attempts by their outcome need")
    if tasks == 1:
        lines.append("all attempts are at one task: the intervals, over tasks, are points and say nothing")
    elif tasks < FEW:
        lines.append(
            f"{tasks} tasks are few: the intervals, over tasks, are too narrow, and a point where one counts"
        )
    return "\n".join(lines)


def table_text(table: Mapping[str, Any], measures: Sequence[str]) -> str:
    """The rows as text, sorted by AUC in lost episodes, then in unmixed groups, then in won ones.

    Args:
        table: rows of `controls` and `methods`, by name.
        measures: names of the figures to show.
    """
    rows = {**table["controls"], **table["methods"]}
    lines = [["", *(LABELS[name] for name in measures), "tokens", "cpu s"]]
    for name in sorted(rows, key=lambda one: _rank(rows[one])):
        figures_of = [str(Measure(**rows[name][key])) for key in measures]
        shown = f"[{name}]" if name in table["controls"] else name
        lines.append([shown, *figures_of, f"{rows[name]['tokens']:,}", f"{rows[name]['cpu_s']:,.2f}"])
    return _aligned(lines)


def differences_text(rows: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> str:
    """Differences of methods from another as text, sorted by the first measure.

    Args:
        rows: figures of `differences`, by name of the method.
        measures: names of the figures to show.
    """
    lines = [["", *(LABELS[name] for name in measures)]]
    for name in sorted(rows, key=lambda one: -rows[one][measures[0]]["value"]):
        lines.append([name, *(str(Measure(**rows[name][key])) for key in measures)])
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _rank(row: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(-row[name]["value"] for name in ("auc_failed", "auc_unmixed", "auc_won"))
