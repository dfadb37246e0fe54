"""What is left of the lead of the lifted `path_gain`: a table of the controls for each task set."""

from collections.abc import Mapping
from typing import Any

from benchmarks.report.credit import HEADS, STAGE, in_order, short
from benchmarks.report.parts import Result, origin
from stepopsd_agent import credit

REFERENCE = "path_gain, lifted"
SETS = {"official": "Official games", "full": "Full houses", "small": "Small houses"}
LEFT_OUT = (
    "text keys + lifted keys, forms, past", "lifted keys, forms", "node_weight=0, lifted keys",
    "prior_count=0, lifted keys", "in order 0", "in order 1", "no past, alone", "told the tool",
)  # fmt: skip
"""Ends of the names of rows that are in the file alone."""


def lifted_controls(result: Result) -> list[str]:
    """For each task set a row for each control, those that rank lost episodes best first."""
    lines = []
    for name in (one for one in SETS if one in result["sets"]):
        stages = in_order(result["sets"][name])
        first = next(iter(stages.values()))
        rows = {**first["controls"], **first["methods"]}
        shown = [row for row in rows if not row.endswith(LEFT_OUT)]
        columns = [
            (measure, label) for measure, label in HEADS if measure in rows[REFERENCE] and measure != "r"
        ]
        heads = " | ".join(f"{stage}: {label}" for stage in stages for _, label in columns)
        lines += [f"**{SETS[name]}:**", "", f"| credit | {heads} |"]
        lines.append("|---|" + "---|" * len(stages) * len(columns))
        for row in sorted(shown, key=lambda one: -rows[one]["auc_failed"]["value"]):
            cells = [_cell(table, row, measure) for table in stages.values() for measure, _ in columns]
            lines.append(f"| {_name(row, row in first['controls'])} | {' | '.join(cells)} |")
        told = [
            f"{STAGE[stage]} success {table['success']:.0%}, {table['mixed']} of {table['groups']} groups "
            f"mixed, {table['tasks']} tasks, {table['told_otherwise']} of {table['episodes']} episodes told "
            "otherwise from texts alone"
            for stage, table in stages.items()
        ]
        lines += ["", f"{'; '.join(told)}.", ""]
    bold = f"bold: the interval of the difference from `{REFERENCE}`, in pairs on the same tasks, holds 0"
    return [*lines, f"Part: {result['part']}; {bold}. {origin(result)}"]


def _name(row: str, control: bool) -> str:
    """Names of methods as code, controls in italics, what is neither as it is."""
    method, *settings = row.partition(",")[0].split()
    code = method in credit.names() and all("=" in setting for setting in settings)
    return f"*control: {row}*" if control else f"`{row}`" if code else row


def _cell(table: Mapping[str, Any], row: str, measure: str) -> str:
    """The figure with half the width of its interval; bold if it is level with the reference."""
    figure = short({**table["controls"], **table["methods"]}[row][measure])
    less = table["differences"].get(row)
    if less is None or not less[measure]["n"]:
        return figure
    value, _, half = figure.partition(" ")
    return f"**{value}** {half}" if less[measure]["low"] <= 0 <= less[measure]["high"] else figure
