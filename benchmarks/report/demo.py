"""The demonstration in the pages: learning curves as rows, and how right the credit of the methods is."""

from benchmarks.report.parts import Result

FIGURES = {
    "auc_failed": "AUC, lost",
    "auc_won": "AUC, won",
    "pushed_down": "forward pushed down",
    "pushed_up": "harmful pushed up",
}
"""Columns of credit, also of what the demonstration prints."""


def curves(result: Result) -> list[str]:
    """Held-out success of each method by update; nothing for a result without."""
    found = result.get("evaluations", {})
    if not found:
        return []
    updates = [str(one["update"]) for one in next(iter(found.values()))]
    lines = ["", f"| success by update | {' | '.join(updates)} |", "|---|" + "---|" * len(updates)]
    for method, evaluations in found.items():
        lines.append(f"| {method} | {' | '.join(_rate(one) for one in evaluations)} |")
    return lines


def credits(result: Result) -> list[str]:
    """Figures of each method's credit; nothing for a result without."""
    found = result.get("credit")
    if not found:
        return []
    lines = ["", f"| credit | {' | '.join(FIGURES.values())} |", "|---|" + "---|" * len(FIGURES)]
    for method, row in found["methods"].items():
        lines.append(f"| {method} | {' | '.join(_cell(row[name]) for name in FIGURES)} |")
    return [
        *lines,
        "",
        f"Of {found['episodes']} attempts of the warm start at {found['groups']} other houses, "
        f"{found['mixed']} of them won and lost; see [Which credit is right](credit-benchmark.md).",
    ]


def _rate(one: dict[str, float]) -> str:
    return f"{one['success']:.0%}" if one["n"] else "-"


def _cell(one: dict[str, float]) -> str:
    return f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})" if one["n"] else "-"
