"""The two knobs of StepOPSD and its open choices in the pages."""

from typing import Any

from benchmarks.report.parts import Result, origin

STAGES = ("start", "middle", "end")
GRID = (("auc_failed", "AUC in lost episodes"), ("auc_won", "AUC in won episodes"))


def knobs(result: Result) -> list[str]:
    """The grid and the choices, stage by stage."""
    lines = []
    for stage in STAGES:
        if (found := result["stages"].get(stage)) is None:
            continue
        lines += [*_grid(result, found, stage), "", *_choices(found), ""]
    lines += _learning(result)
    judged = f"Task set `{result['set']}`. Intervals of 95 % over tasks; part: {result['part']}. "
    return [*lines, f"{judged if result['stages'] else ''}{origin(result)}"]


def _grid(result: Result, found: dict[str, Any], stage: str) -> list[str]:
    """Ranks, and the share of credit that is moved, for both knobs."""
    clips = result["alpha_clip"]
    lines = [
        f"**{stage.capitalize()} of training**, {found['episodes']} episodes, "
        f"`step_norm={result['step_norm']}`: AUC in lost / in won episodes, and share of credit moved.",
        "",
        f"| `lambda_mix` | {' | '.join(f'`alpha_clip` {clip:g}' for clip in clips)} |",
        "|---|" + "---|" * len(clips),
    ]
    for share, cells in zip(result["lambda_mix"], found["grid"], strict=True):
        figures = [
            f"{cell['auc_failed']['value']:.3f} / {cell['auc_won']['value']:.3f}, {cell['moved']:.1%}"
            for cell in cells
        ]
        lines.append(f"| {share:g} | {' | '.join(figures)} |")
    return lines


def _choices(found: dict[str, Any]) -> list[str]:
    """One choice changed at a time."""
    heads = [label for _, label in GRID]
    lines = [
        f"| choice | value | {' | '.join(heads)} | credit moved |",
        "|---|---|" + "---|" * (len(GRID) + 1),
    ]
    for one in found["choices"]:
        cells = [_figure(one[key]) for key, _ in GRID]
        value = one["value"] if " " in one["value"] else f"`{one['value']}`"
        lines.append(f"| {one['choice']} | {value} | {' | '.join(cells)} | {one['moved']:.1%} |")
    return lines


def _learning(result: Result) -> list[str]:
    """Mean area under the learning curve of every cell, if it was trained."""
    if not result.get("learning"):
        return []
    learning = result["learning"]
    seeds = "one seed" if learning["seeds"] == 1 else f"mean of {learning['seeds']} seeds"
    areas = _trained(learning, learning["area"])
    lines = [
        f"Area under the learning curve on task set `{learning['set']}`, {learning['updates']} updates, "
        f"{seeds}, `step_norm={result['step_norm']}`; without `lambda_mix` the method is GRPO:",
        "",
        *areas,
    ]
    if "training" in learning:
        won = _trained(learning, learning["training"])
        lines += ["", "Share of attempts won that were trained on, of the same runs:", "", *won]
    least, most = min(learning["grpo"]), max(learning["grpo"])
    spread = f"Beside it, {len(learning['grpo'])} seeds of GRPO alone span {least:.3f} to {most:.3f}."
    return [*lines, "", spread, ""]


def _trained(learning: dict[str, Any], figures: list[list[list[float]]]) -> list[str]:
    """A table of the means over seeds."""
    lines = [
        f"| `lambda_mix` | {' | '.join(f'`alpha_clip` {clip:g}' for clip in learning['alpha_clip'])} |",
        "|---|" + "---|" * len(learning["alpha_clip"]),
    ]
    for share, cells in zip(learning["lambda_mix"], figures, strict=True):
        lines.append(f"| {share:g} | {' | '.join(f'{sum(one) / len(one):.3f}' for one in cells)} |")
    return lines


def _figure(measure: dict[str, Any]) -> str:
    if not measure["n"]:
        return "-"
    return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"
