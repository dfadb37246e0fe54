"""Tables for people, made from the measurements in ``benchmarks/results``.

python -m benchmarks.report            # writes docs/benchmarks.md
python -m benchmarks.report --check    # exit 1 when docs/benchmarks.md is not what the results say
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md"
Result = dict[str, Any]


def rate(row: Result) -> str:
    """Success with its Wilson 95 % interval."""
    low, high = row["ci95"]
    return f"{row['success']:.1%} ({low:.1%} to {high:.1%})"


def origin(result: Result) -> str:
    """Where a result comes from."""
    hardware, packages = result["hardware"], result["packages"]
    gpu = "" if hardware["gpu"] == "none" else f", {hardware['gpu']}"
    return (
        f"`{result['command']}`, commit {result['commit'][:12]}, {hardware['cpu']}, "
        f"{hardware['cores']} cores{gpu}, Python {result['python']}, torch {packages['torch']}, "
        f"transformers {packages['transformers']}."
    )


def comparison(result: Result) -> list[str]:
    """Agents and their success, and what the run took."""
    names = list(result["rows"])
    lines = ["| agent | success (95 % interval) | games |", "|---|---|---|"]
    lines += [f"| {name} | {rate(result['rows'][name])} | {result['rows'][name]['n']} |" for name in names]
    lines += ["", f"Seed {result['seed']}, {result['wall_s'] / 60:.1f} minutes in all. {origin(result)}"]
    return lines + (["", result["note"]] if result.get("note") else [])


def parity(result: Result) -> list[str]:
    """Steps that answered as the original did."""
    return [
        f"{result['steps_identical']} of {result['steps']} steps and {result['resets_identical']} of "
        f"{result['games']} opening texts are identical to the transcripts of the original. {origin(result)}"
    ]


def golden(result: Result) -> list[str]:
    """Credit beside the original authors' values."""
    return [
        f"{len(result['differences'])} of {result['names']} names compared on {result['batches']} batches; "
        f"largest difference {result['largest_difference']:.1e}, "
        f"allowed {result['tolerance']:.0e}. {origin(result)}"
    ]


def houses(result: Result) -> list[str]:
    """Generated houses beside official ones."""
    lines = ["| per game | official | generated, tier `full` | distance | between halves of the official |"]
    lines += ["|---|---|---|---|---|"]
    for name, row in result["figures"].items():
        cells = [f"{row[kind]['mean']:.1f} ± {row[kind]['sd']:.1f}" for kind in ("official", "full")]
        cells += [f"{row[kind]:.3f}" for kind in ("distance", "between_halves")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"{result['games']:,} games of each; distance: largest gap of the distribution functions."]
    return [*lines, f"Target: at most {result['target']:.2f}. {origin(result)}"]


def index(result: Result) -> list[str]:
    """Listing the games of a split."""
    return [
        f"{result['games']:,} games of {result['split']} are indexed in {result['indexed_s']:.2f} s and then "
        f"opened by another process in {1e3 * result['opened_s']:.0f} ms, again in the same one in "
        f"{1e3 * result['opened_again_s']:.0f} ms. {origin(result)}"
    ]


SECTIONS: tuple[tuple[str, str, Callable[[Result], list[str]]], ...] = (
    ("Generated houses (`make demo`)", "demo_seed*.json", comparison),
    ("Official games", "official*.json", comparison),
    ("Parity with the original engine", "alfworld_parity.json", parity),
    ("Generated houses beside official ones", "house_statistics.json", houses),
    ("Index of the official games", "data_index.json", index),
    ("Credit beside the original code", "credit_golden.json", golden),
)


def page() -> str:
    """The whole page."""
    lines = ["# Benchmarks", "", "Made by `python -m benchmarks.report` from `benchmarks/results`.", ""]
    for title, pattern, write in SECTIONS:
        lines += [f"## {title}", ""]
        paths = sorted(RESULTS.glob(pattern))
        for path in paths:
            lines += [*write(json.loads(path.read_text(encoding="utf-8"))), ""]
        lines += [] if paths else ["Not measured yet.", ""]
    return "\n".join(lines)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Make docs/benchmarks.md from benchmarks/results.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    if parser.parse_args().check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        print(
            "docs/benchmarks.md is up to date" if same else "run python -m benchmarks.report", file=sys.stderr
        )
        return 0 if same else 1
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
