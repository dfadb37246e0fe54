"""One page of the credit benchmark for a browser: pictures and tables in one file.

    python -m benchmarks.report.html OUT.html

Made from ``benchmarks/results``: accuracy with intervals, teachers read by a larger model, the commands of
one state, heat maps of StepOPSD's knobs, learning curves; those that are not measured yet are left out. Light
or dark as the browser is. No script and nothing from the network.
"""

import argparse
import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.credit.heat_maps import draw_heat_maps
from benchmarks.report.credit import in_order, reader, within_state
from benchmarks.report.learning import draw_learning, learning as learning_table
from benchmarks.report.parts import Result, origin
from stepopsd_agent.accuracy import LABELS, Measure, draw_accuracy
from stepopsd_agent.run.files import write_bytes_atomic

RESULTS = Path(__file__).resolve().parents[1] / "results"
SHOWN = (
    "auc_failed",
    "auc_all_failed",
    "auc_won",
    "auc_harmful",
    "auc_unmixed",
    "r",
    "pushed_down",
    "pushed_up",
)
MARKS = ((r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"), (r"`(.+?)`", "code"))
"""What the pages use of Markdown inside a line, and its element."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which credit is right</title>
<style>
:root {{ color-scheme: light dark; --page: #fff; --text: #222; --soft: #6a6a6a; --line: #ddd }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #16181c; --text: #e4e4e4; --soft: #9a9a9a; --line: #383b42 }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  margin: 2rem auto; padding: 0 1rem; max-width: 72rem }}
img {{ max-width: 100%; height: auto; background: #fff; border-radius: 4px }}
table {{ border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto;
  font-variant-numeric: tabular-nums }}
th, td {{ padding: 2px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: var(--page) }}
code {{ font-size: 12px }}
p {{ max-width: 52rem }}
.control {{ color: var(--soft) }}
.origin {{ color: var(--soft); font-size: 12px }}
</style>
</head>
<body>
<h1>Which credit is right</h1>
<p>AUC is the chance that a step which brings the goal nearer has more credit than another step of the
same episode; 0.5 is chance, and equal credit counts half. Failed and won: episodes of groups of attempts
that have both outcomes; all failed: failed episodes of all groups; unmixed: the other groups. Harmful:
the chance that a step away from the goal has less credit than another. r: correlation with the acting
policy's own advantage, from fresh attempts. Pushed down and up: shares of forward steps with negative and
of harmful steps with positive credit. Rows in grey are controls, without any credit method. Intervals of
95 % over tasks.</p>
{sections}
</body>
</html>
"""


def image(png: bytes, says: str) -> str:
    """A picture inside the page."""
    return f'<img alt="{escape(says)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def table(found: Mapping[str, Any]) -> str:
    """The rows of methods and controls, the best in lost episodes first."""
    rows = {**found["controls"], **found["methods"]}
    shown = [name for name in SHOWN if all(name in row for row in rows.values())]  # older results lack some
    head = "".join(f"<th>{escape(LABELS[name])}</th>" for name in shown)
    lines = [f"<tr><th></th>{head}<th>tokens</th><th>CPU s</th></tr>"]
    for name in sorted(rows, key=lambda one: -rows[one]["auc_failed"]["value"]):
        cells = "".join(f"<td>{escape(str(Measure(**rows[name][key])))}</td>" for key in shown)
        kind = ' class="control"' if name in found["controls"] else ""
        cost = f"<td>{rows[name]['tokens']:,}</td><td>{rows[name]['cpu_s']:,.1f}</td>"
        lines.append(f"<tr{kind}><td>{escape(name)}</td>{cells}{cost}</tr>")
    return f"<table>{''.join(lines)}</table>"


def from_markdown(lines: Sequence[str]) -> list[str]:
    """The tables and paragraphs of a page: what these tables use of Markdown, no more."""
    parts: list[str] = []
    for is_table, block in groupby(lines, lambda line: line.startswith("|")):
        if is_table:
            head, _, *rows = [[inline(cell) for cell in line.strip("| ").split(" | ")] for line in block]
            body = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
            parts.append(f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{body}</table>")
        else:
            parts += [f"<p>{inline(line)}</p>" for line in block if line]
    return parts


def inline(text: str) -> str:
    """One line or cell."""
    text = escape(text.strip())
    for pattern, element in MARKS:
        text = re.sub(pattern, rf"<{element}>\1</{element}>", text)
    return text


def accuracy(result: Result) -> list[str]:
    """The picture of every task set, and a table for every stage."""
    parts = []
    for name, stages in result["sets"].items():
        ordered = in_order(stages)
        pictured = {f"{stage} of training": found for stage, found in ordered.items()}
        parts.append(image(draw_accuracy(pictured, f"task set {name}"), f"accuracy, task set {name}"))
        for stage, found in ordered.items():
            counts = f"{found['episodes']} episodes, success {found['success']:.0%}"
            parts.append(f"<h3>{escape(name)}, {stage} of training: {counts}</h3>{table(found)}")
    return parts


def knobs(result: Result) -> list[str]:
    """Heat maps over both knobs."""
    return [image(draw_heat_maps(result), "heat maps over lambda_mix and alpha_clip")]


def learning(result: Result) -> list[str]:
    """The curves of every method, beside GRPO's, and their figures."""
    return [image(draw_learning(result), "learning curves"), *from_markdown(learning_table(result))]


SECTIONS: tuple[tuple[str, str, Callable[[Result], list[str]]], ...] = (
    ("Accuracy of all methods", "credit_accuracy*.json", accuracy),
    ("Read by a larger model", "credit_reader.json", lambda result: from_markdown(reader(result))),
    ("The commands of one state", "credit_qval.json", lambda result: from_markdown(within_state(result))),
    ("The two knobs of StepOPSD", "credit_two_knobs*.json", knobs),
    ("Learning", "credit_learning*.json", learning),
)


def page(results: Path = RESULTS) -> str:
    """The page of what is measured."""
    parts = []
    for title, pattern, write in SECTIONS:
        for path in sorted(results.glob(pattern)):
            result = json.loads(path.read_text(encoding="utf-8"))
            section = [f"<h2>{escape(title)}</h2>", *write(result)]
            if not any(inline(origin(result)) in part for part in section):
                section.append(f'<p class="origin">{inline(origin(result))}</p>')
            parts += section
    return PAGE.format(sections="\n".join(parts))


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.html", description=__doc__)
    parser.add_argument("out", type=Path, help="HTML file to write")
    out: Path = parser.parse_args().out
    write_bytes_atomic(out, page().encode())
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
