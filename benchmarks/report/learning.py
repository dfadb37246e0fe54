"""Learning curves of the credit benchmark in the pages: one row a method, and one small picture each."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np

from benchmarks.credit.paired import difference, of_seeds
from benchmarks.report.parts import Result, origin, taken, without_module

COLUMNS = 4
"""Pictures side by side."""
IN_COMMANDS = "path_gain lifted=true measure=commands episode_weight=0"
SAME = "benchmarks.credit.crossed:crossed distances=texts form=progress"
"""The same credit under the name with which it was trained first; its runs are equal number for number."""
AVERAGED = f"benchmarks.credit.shuffled:averaged inner={IN_COMMANDS.replace(' ', ',')}"


def learning(result: Result) -> list[str]:
    """A row for every method, the largest area first."""
    rows, figures, training = result["rows"], result["compared"], result["compared_training"]
    lines = [
        "| method | seeds | area under the curve | better than GRPO | last | updates to reach "
        "| success in training | over GRPO at the same tasks | env steps | tokens |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(rows, key=lambda one: -figures[one]["iqm"]):
        row, figure = rows[name], figures[name]
        reached = [update for update in row["updates_to_reach"] if update is not None]
        until = f"{_mean(reached):.0f} ({len(reached)} of {len(row['last'])})" if reached else "never"
        lines.append(
            f"| `{without_module(name)}` | {len(row['last'])} | {_with_interval(figure)} | {_better(figure)} "
            f"| {_mean(row['last']):.2f} | {until} | {_with_interval(training[name])} "
            f"| {_over(result['over_grpo'].get(name))} | {_mean(row['env_steps']):,.0f} "
            f"| {_mean(row['tokens']):,.0f} |"
        )
    kind = "advantages scaled to the size of GRPO's" if result["matched"] else "every method as it is"
    mark = f"a success of {result['reach']}" if "reach" in result else "the mark"
    return [
        *lines,
        "",
        f"Task set `{result['set']}`, {kind}. Area: interquartile mean over seeds "
        "of the mean held-out success over updates; last success: mean over seeds, never the best; updates "
        f"until {mark}, and how many seeds reached it; mean success of all attempts trained on, at tasks "
        "that a training shows once, and by how much it is above GRPO's, update by update at the same ones; "
        "interaction and processed tokens of one run; chance that a run is better than one of GRPO. "
        f"Intervals of 95 %, bootstrap over seeds, in the difference also over updates. "
        f"{taken(rows)}{origin(result)}",
    ]


def differences(result: Result) -> list[str]:
    """Success in training of each method minus that of every better one, at the same tasks."""
    found = result["differences"]
    order = sorted(found, key=lambda one: -_mean(result["rows"][one]["training"]))
    lines = [
        "| | " + " | ".join(f"less `{without_module(name)}`" for name in order[1:]) + " |",
        "|---" * len(order) + "|",
    ]
    for place, name in enumerate(order[:-1]):
        cells = [_pair(found[name][other]) if other in order[place + 1 :] else "" for other in order[1:]]
        lines.append(f"| `{without_module(name)}` | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "Difference of the mean success of the attempts trained on, at the same tasks, with Student's "
        f"interval of 95 % over seeds, and in how many seeds it is above zero. {taken(order)}"
        f"{origin(result)}",
    ]


def crossed(result: Result) -> list[str]:
    """What is known by what is made of it, in success in training over GRPO: `benchmarks.credit.crossed`."""
    control = "benchmarks.credit.crossed:crossed"
    return _four(
        result,
        ("as in `path_gain`: discounted, with the episode's advantage", "as in `oracle`: in commands, alone"),
        {
            "distances of the simulator": (f"{control} distances=truth form=gain", "oracle"),
            "distances from texts": ("path_gain lifted=true", f"{control} distances=texts form=progress"),
        },
    )


def parted(result: Result) -> list[str]:
    """The two parts of the form of `path_gain`, each with and without the other."""
    method = "path_gain lifted=true"
    return _four(
        result,
        ("with the episode's advantage", "without it"),
        {
            "discounted": (method, f"{method} episode_weight=0"),
            "in commands": (f"{method} measure=commands", f"{method} measure=commands episode_weight=0"),
        },
    )


def _four(result: Result, heads: tuple[str, str], rows: Mapping[str, tuple[str, str]]) -> list[str]:
    """Success in training over GRPO by two settings of two values, and what each makes over the other's."""
    found = result["differences"]
    (left, right), (upper, lower) = zip(*rows.values(), strict=True), rows.values()
    effects = {
        "second column less first, over both rows": (right, left),
        "second row less first, over both columns": (lower, upper),
    }
    lines = [f"| | {heads[0]} | {heads[1]} |", "|---|---|---|"]
    for name, methods in rows.items():
        lines.append(f"| {name} | {' | '.join(_pair(found[one]['grpo']) for one in methods)} |")
    for name, (more, less) in effects.items():
        seeds = np.mean([found[one][other]["by_seed"] for one, other in zip(more, less, strict=True)], axis=0)
        lines.append(f"| *{name}* | {_pair(of_seeds(seeds))} | |")
    return [
        *lines,
        "",
        "Success in training over GRPO at the same tasks, with Student's interval of 95 % over seeds, and in "
        f"how many of them it is above zero. {origin(result)}",
    ]


def agreement(result: Result) -> list[str]:
    """How well accuracy and success in training go together over the methods, by each measure of accuracy."""
    names = {"auc_failed": "AUC, lost", "auc_won": "AUC, won", "auc_harmful": "harm", "r": "r"}
    heads = ["success in training over GRPO", *names.values()]
    lines = [f"| method | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in sorted(result["rows"], key=lambda one: -result["rows"][one]["over_grpo"]):
        row = result["rows"][name]
        shown = "-" if name == "grpo" else f"{row['over_grpo']:+.3f} {_interval(row['ci95'])}"
        lines.append(f"| `{name}` | {shown} | {' | '.join(f'{row[key]:.2f}' for key in names)} |")
    rho = [result["correlations"][key] for key in names]
    measured = result.get("accuracy_set", "small")
    houses = "the same task set" if measured == result["set"] else f"task set `{measured}`"
    cells = [f"{one['value']:+.2f} (p = {one['p']:.3f})" for one in rho]
    return [
        *lines,
        f"| *rank correlation, without the truth* | | {' | '.join(cells)} |",
        "",
        f"{rho[0]['n']} methods, up to {result['seeds']} seeds on task set `{result['set']}`. Accuracy: "
        f"mean over the stages of another training, with GRPO, on {houses}. Spearman's correlation, "
        f"two-sided permutation test. {origin(result)}",
    ]


def right_step(results: Sequence[Result]) -> list[str]:
    """What the right step adds to credit averaged over each episode, by the seeds of several trainings.

    Args:
        results: the first is of the seeds on which the form of the credit was found.
    """
    lines = ["| seeds | averaged | on its steps | the step adds | by seed |", "|---|---|---|---|---|"]
    seeds = list[float]()
    for result in results:
        rows, first = result["rows"], result.get("first_seed", 0)
        steps, mean = rows[IN_COMMANDS if IN_COMMANDS in rows else SAME], rows[AVERAGED]
        more = difference(steps, mean)
        seeds += more["by_seed"]
        lines.append(
            f"| {first} to {first + len(more['by_seed']) - 1} | {_mean(mean['training']):.3f} "
            f"| {_mean(steps['training']):.3f} | {_pair(more)} | {_by_seed(more)} |"
        )
    found = len(results[0]["rows"][AVERAGED]["trained_on"])
    for label, some in (("*without the first line*", seeds[found:]), ("*all*", seeds)):
        lines.append(f"| {label} | | | {_pair(of_seeds(np.array(some)))} | |")
    commits = ", ".join(result["commit"][:12] for result in results)
    return [
        *lines,
        "",
        "Success of the attempts trained on, at the same tasks, and the difference with Student's interval "
        f"of 95 % over seeds. Commits {commits}; of the last: {origin(results[-1])}",
    ]


def _by_seed(more: Result) -> str:
    return " ".join(f"{one:+.3f}" for one in more["by_seed"])


def draw_learning(result: Result) -> bytes:
    """A PNG: for every method its mean curve, those of its seeds, and the mean of GRPO in grey."""
    from matplotlib.figure import Figure

    rows = result["rows"]
    order = sorted(rows, key=lambda one: -result["compared"][one]["iqm"])
    columns = min(COLUMNS, len(order))
    lines = ceil(len(order) / columns)
    picture = Figure(figsize=(3 * columns, 2.6 * lines), layout="constrained")
    axes = picture.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, name in zip(axes, order, strict=False):
        row = rows[name]
        for curve in row["curves"]:
            panel.plot(row["updates"], curve, color="C0", alpha=0.25, lw=0.9)
        panel.plot(row["updates"], _at_each(row["curves"]), color="C0", lw=2)
        if "grpo" in rows:
            panel.plot(row["updates"], _at_each(rows["grpo"]["curves"]), "k--", lw=1, alpha=0.6)
        panel.set_title(without_module(name), fontsize=9)
        panel.grid(alpha=0.25)
    for panel in axes[len(order) :]:
        panel.axis("off")
    picture.supxlabel("updates", fontsize=9)
    picture.supylabel("success at held-out tasks", fontsize=9)
    title = f"Learning, task set {result['set']}: seeds, their mean, and GRPO's mean dashed"
    picture.suptitle(title, fontsize=10)
    content = BytesIO()
    picture.savefig(content, format="png", dpi=90)
    return content.getvalue()


def _at_each(curves: list[list[float]]) -> list[float]:
    """The mean over seeds at each evaluation."""
    return [_mean(at) for at in zip(*curves, strict=True)]


def _mean(values: Any) -> float:
    return float(sum(values) / len(values))


def _with_interval(figure: Result) -> str:
    return f"{figure['iqm']:.3f} {_interval(figure['ci95'])}"


def _better(figure: Result) -> str:
    """The chance to be better than GRPO; of GRPO itself nothing."""
    if "better_than_grpo" not in figure:
        return "-"
    return f"{figure['better_than_grpo']:.2f} {_interval(figure['better_ci95'])}"


def _over(more: Result | None) -> str:
    """What a method has more than GRPO; of GRPO itself nothing."""
    return "-" if more is None else f"{more['value']:+.3f} {_interval(more['ci95'])}"


def _pair(more: Result) -> str:
    """A difference, Student's interval, and the seeds above zero."""
    above = sum(one > 0 for one in more["by_seed"])
    return f"{more['value']:+.3f} {_interval(more['student95'])}, {above} of {len(more['by_seed'])}"


def _interval(bounds: list[float]) -> str:
    low, high = bounds
    return f"[{low:.2f}, {high:.2f}]"
