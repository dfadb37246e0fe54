"""What is left of the lead of the lifted `path_gain`: figures of the controls, and differences in pairs."""

from collections.abc import Mapping
from typing import Any

from benchmarks.report.credit import HEADS, STAGE, in_order, short
from benchmarks.report.parts import Result, origin
from stepopsd_agent import credit

REFERENCE = "path_gain, lifted"
SETS = {"official": "Official games", "full": "Full houses", "small": "Small houses"}


def lifted_controls(result: Result) -> list[str]:
    """For each task set the figures, then the differences from the reference, rows in the same order."""
    lines = []
    for name in (one for one in SETS if one in result["sets"]):
        stages = in_order(result["sets"][name])
        first = next(iter(stages.values()))
        rows = {**first["controls"], **first["methods"]}
        order = sorted(rows, key=lambda one: -rows[one]["auc_failed"]["value"])
        columns = [
            (measure, label) for measure, label in HEADS if measure in rows[REFERENCE] and measure != "r"
        ]
        heads = " | ".join(f"{stage}: {label}" for stage in stages for _, label in columns)
        rule = "|---|" + "---|" * len(stages) * len(columns)
        lines += [f"**{SETS[name]}:**", "", f"| credit | {heads} |", rule]
        for method in order:
            found = [{**table["controls"], **table["methods"]}[method] for table in stages.values()]
            lines.append(
                _row(
                    method, method in first["controls"], [short(one[m]) for one in found for m, _ in columns]
                )
            )
        lines += ["", f"| minus `{REFERENCE}`, on the same tasks | {heads} |", rule]
        for method in (one for one in order if one in first["differences"]):
            less = [table["differences"][method] for table in stages.values()]
            lines.append(_row(method, False, [_signed(one[m]) for one in less for m, _ in columns]))
        told = [
            f"{STAGE[stage]} success {table['success']:.0%}, {table['mixed']} of {table['groups']} groups "
            f"mixed, {table['tasks']} tasks, {table['told_otherwise']} of {table['episodes']} episodes told "
            "otherwise from texts alone"
            for stage, table in stages.items()
        ]
        lines += ["", f"{'; '.join(told)}.", ""]
    return [*lines, f"Part: {result['part']}; bold: the interval of 95 % excludes 0. {origin(result)}"]


def _row(name: str, control: bool, cells: list[str]) -> str:
    """A line; names of methods as code, controls in italics, what is neither as it is."""
    method, *settings = name.partition(",")[0].split()
    code = method in credit.names() and all("=" in setting for setting in settings)
    shown = f"*control: {name}*" if control else f"`{name}`" if code else name
    return f"| {shown} | {' | '.join(cells)} |"


def _signed(measure: Mapping[str, Any]) -> str:
    """A difference; bold if its interval excludes 0."""
    value, half = short(dict(measure)).split(" ") if measure["n"] else ("-", "")
    apart = measure["n"] and (measure["low"] > 0 or measure["high"] < 0)
    return f"**{value}** {half}" if apart else f"{value} {half}".strip()
