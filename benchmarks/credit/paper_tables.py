"""Our runs in the published tables of ALFWorld and Search-QA, with differences that chance can explain.

    python -m benchmarks.credit.paper_tables RUNS... [--json OUT] [--markdown OUT]

RUNS are run folders of ``stepopsd train`` or folders of ``stepopsd eval``. The published rows are in
``published.json``, each with its source. Ours have Wilson intervals of 95 %, and so have published rows that
are known to be one pass over a known number of games. Within each model, ``~`` marks rows whose difference
from the best row chance can explain: its interval (Newcombe's, from Wilson intervals) contains 0. ``#`` marks
a figure that is no share of that number of games. ``?`` marks our cells from other games than the official
ones. Search-QA has its average with and without Bamboogle, one of its seven sets. Bamboogle has 125
questions, and the figures of Search-R1 are shares of 125. Those near 65 % in the table that SDAR and later
papers share are not: all are shares of 248, the smallest number that fits every one of them. So they are from
another set of questions or another protocol; the intervals here use the number that fits.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from benchmarks.output import write_result
from stepopsd_agent.ops import proportion
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_envs.alfworld.pools import GENERATED

PUBLISHED = Path(__file__).with_name("published.json")
COMMAND = "python -m benchmarks.credit.paper_tables RUNS"
TYPES = {
    "Pick": "pick_and_place_simple",
    "Look": "look_at_obj_in_light",
    "Clean": "pick_clean_then_place_in_recep",
    "Heat": "pick_heat_then_place_in_recep",
    "Cool": "pick_cool_then_place_in_recep",
    "PickTwo": "pick_two_obj_and_place",
}
SETS = {
    "NQ": "nq",
    "TriviaQA": "triviaqa",
    "PopQA": "popqa",
    "HotpotQA": "hotpotqa",
    "2Wiki": "2wiki",
    "MuSiQue": "musique",
    "Bamboogle": "bamboogle",
}
"""Prefix of the name of a question file, by the name of its column."""
OFFICIAL = frozenset({"valid_seen", "valid_unseen"})
"""Splits of ALFWorld's own games that are held out from training."""
COLUMNS = {
    "alfworld": [*TYPES, "All"],
    "search_qa": [*SETS, "Average", "without Bamboogle"],
}
TITLES = {"alfworld": "ALFWorld, success in %", "search_qa": "Search-QA, exact match in %"}


def read_run(path: Path) -> dict[str, Any]:
    """The row of a run or an evaluation: its benchmark, label, and per column success, n and interval.

    Raises:
        SystemExit: the folder holds neither a summary nor a whole evaluation.
    """
    evaluation, summary = path / "evaluation.json", path / "summary.json"
    if evaluation.is_file():
        content = json.loads(evaluation.read_text(encoding="utf-8"))
        if "n" not in content:
            raise SystemExit(f"{path} was left before its end; finish it with: stepopsd eval --resume {path}")
        config, by_type, whole, who = content["config"], content["by_task_type"], content, content["agent"]
    elif summary.is_file():
        content = json.loads(summary.read_text(encoding="utf-8"))
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        by_type, whole, who = content["by_task_type"]["final"], content["final"], content["method"]
    else:
        raise SystemExit(f"{path} has no evaluation.json and no summary.json; give folders of eval or train")
    row = {"label": f"{path.name}, {who}", "model": "ours", "source": str(path.name)}
    row |= {"played": whole["n"], "errors": whole.get("errors", 0)}
    if "ALFWorld" in config["env"].get("id", "stepopsd/ALFWorld-v0"):
        cells = {name: by_type[key] for name, key in TYPES.items() if key in by_type}
        return {**row, "table": "alfworld", "cells": {**cells, "All": whole}, "official": _official(config)}
    sets = content.get("by_set") or {_only_set(config): whole}
    cells = {
        name: sets[found]
        for name, start in SETS.items()
        if (found := next((one for one in sets if one.lower().startswith(start)), None)) is not None
    }
    return {**row, "table": "search_qa", "cells": {**cells, **averages(cells)}, "official": True}


def _official(config: Mapping[str, Any]) -> bool:
    """Whether the games of the evaluation are ALFWorld's held-out ones."""
    games = config.get("eval", {}).get("games") or config["env"].get("games", GENERATED)
    return OFFICIAL.issuperset([games] if isinstance(games, str) else games)


def _only_set(config: Mapping[str, Any]) -> str:
    questions = config.get("eval", {}).get("questions") or config["env"].get("questions", "")
    first = questions if isinstance(questions, str) else questions[0]
    return Path(first).name.partition(".")[0]


def averages(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Unweighted means over the sets, if all of them were played."""
    found = {}
    for name, sets in (
        ("Average", list(SETS)),
        ("without Bamboogle", [one for one in SETS if one != "Bamboogle"]),
    ):
        if all(one in cells and cells[one]["n"] for one in sets):
            rates = [(cells[one]["success"], cells[one]["n"]) for one in sets]
            mean = sum(rate for rate, _ in rates) / len(sets)
            half = 1.96 * sum(rate * (1 - rate) / n for rate, n in rates) ** 0.5 / len(sets)
            found[name] = {"success": mean, "n": sum(n for _, n in rates), "ci95": [mean - half, mean + half]}
    return found


def read_published(table: str) -> list[dict[str, Any]]:
    """The published rows of a benchmark, in the form of `read_run`."""
    content = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    rows = []
    for one in content[table]:
        names = list(TYPES if table == "alfworld" else SETS)
        known = {"Bamboogle": one.get("bamboogle_questions")}
        sizes = one.get("games_by_type") or [known.get(name) for name in names]
        cells = {
            name: _cell(value, n)
            for name, value, n in zip(names, one["cells"], sizes, strict=True)
            if value is not None
        }
        if one["all"] is not None:
            last = "All" if table == "alfworld" else "Average"
            cells[last] = _cell(one["all"], one.get("games")) | {"spread": one.get("spread")}
        if table == "search_qa" and all(name in cells for name in names):
            rest = [cells[name]["success"] for name in names if name != "Bamboogle"]
            cells["without Bamboogle"] = _cell(100 * sum(rest) / len(rest), None)
        source = content["sources"][one["source"]]
        rows.append(
            {"label": one["method"], "model": one["model"], "table": table, "cells": cells, "source": source}
        )
    return rows


def _cell(percent: float, n: int | None) -> dict[str, Any]:
    """A published figure, with its interval if the number of games is known."""
    cell: dict[str, Any] = {"success": percent / 100, "n": n}
    if n is not None:
        won = round(percent / 100 * n)
        cell |= {"ci95": proportion(won, n)["ci95"], "is_count": abs(100 * won / n - percent) < 0.0501}
    return cell


def within_noise(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the 95 % interval of the difference of two rates contains 0 (Newcombe 1998, method 10)."""
    high, low = (one, other) if one["success"] >= other["success"] else (other, one)
    gap = high["success"] - low["success"]
    below = (high["success"] - high["ci95"][0]) ** 2 + (low["ci95"][1] - low["success"]) ** 2
    return bool(gap <= below**0.5)


def marked(rows: Sequence[dict[str, Any]], column: str) -> dict[str, list[int]]:
    """Count pairs of published rows of a model whose difference chance can explain; mark rows near the best.

    Returns:
        By model, the number of such pairs and of all pairs.
    """
    pairs = {}
    for model in dict.fromkeys(row["model"] for row in rows if row["model"] != "ours"):
        known = [
            row["cells"][column]
            for row in rows
            if row["model"] == model and "ci95" in row["cells"].get(column, {})
        ]
        both = list(combinations(known, 2))
        if both:
            pairs[model] = [sum(within_noise(*pair) for pair in both), len(both)]
            best = max(known, key=lambda cell: float(cell["success"]))
            for cell in known:
                cell["near_best"] = cell is not best and within_noise(cell, best)
    return pairs


def text(cell: Mapping[str, Any] | None, official: bool = True) -> str:
    """A cell: the figure in percent, its interval, and its marks."""
    if cell is None or cell["n"] == 0:
        return "-"
    interval = ""
    if cell.get("ci95"):
        interval = f" [{100 * cell['ci95'][0]:.0f}, {100 * cell['ci95'][1]:.0f}]"
    elif cell.get("spread"):
        interval = f" ±{cell['spread']:g}"
    marks = ("" if cell.get("is_count", True) else "#") + ("~" if cell.get("near_best") else "")
    return f"{100 * cell['success']:.1f}{marks}{'' if official else '?'}{interval}"


def lines_of(rows: Sequence[Mapping[str, Any]], table: str) -> list[list[str]]:
    """Cells of the table, its head first. Errors have a column where runs of ours met some."""
    errors = any(row.get("errors") for row in rows)
    found = [["method", "model", *COLUMNS[table], *(["errors"] if errors else [])]]
    for row in rows:
        cells = [text(row["cells"].get(name), row.get("official", True)) for name in COLUMNS[table]]
        cells += [str(row.get("errors", "-"))] if errors else []
        found.append([row["label"], row["model"], *cells])
    return found


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Plain text."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])


def notes(pairs: Mapping[str, Sequence[int]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The meaning of the marks in this table, and the sources."""
    found = [
        f"{model}: {near} of {all_} pairs of published rows lie within chance of each other (All)."
        for model, (near, all_) in pairs.items()
    ]
    if any(not row.get("official", True) for row in rows):
        found.append("?: played on other games; the published rows are of the official ones.")
    found += [
        f"{row['errors']} of {row['errors'] + row['played']} episodes of {row['label']} ended in an error "
        "and are not counted."
        for row in rows
        if row.get("errors")
    ]
    sources = dict.fromkeys(row["source"] for row in rows if row["model"] != "ours")
    return [*found, "Sources: " + "; ".join(sources) + "."]


def tables(runs: Sequence[Path]) -> dict[str, Any]:
    """Rows and counts of noise of both benchmarks, ours first."""
    own, found = [read_run(path) for path in runs], {}
    for table in COLUMNS:
        rows = [row for row in own if row["table"] == table] + read_published(table)
        found[table] = {"rows": rows, "pairs_within_noise": marked(rows, "All")}
    return found


def main() -> int:
    """Print the tables, and write the files that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.paper_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="*", help="folders of train or eval")
    parser.add_argument("--json", type=Path, default=None, help="write rows and intervals here")
    parser.add_argument("--markdown", type=Path, default=None, help="write the tables here")
    options = parser.parse_args()
    found, page = tables(options.runs), list[str]()
    for table, content in found.items():
        lines = lines_of(content["rows"], table)
        said = notes(content["pairs_within_noise"], content["rows"])
        print(f"{TITLES[table]}\n{aligned(lines)}\n" + "\n".join(said) + "\n")
        page += [f"## {TITLES[table]}", "", markdown(lines), "", *(f"- {one}" for one in said), ""]
    if options.markdown is not None:
        write_bytes_atomic(options.markdown, "\n".join(page).encode())
    if options.json is not None:
        write_result(options.json, found, COMMAND)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
