"""What several tables of `benchmarks.report` share."""

from typing import Any

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
