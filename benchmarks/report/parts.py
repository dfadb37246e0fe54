"""Parts that several tables of `benchmarks.report` share."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

Result = dict[str, Any]
INNER = "inner="
"""Setting of a control that names the method whose credit it takes."""


def module_of(result: Result) -> str:
    """The module that made a result, as its command names it."""
    return str(result["command"]).split()[2]


def exists(module: str) -> bool:
    """Whether the checkout has this module."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package
        return False


def percent(share: float | None) -> str:
    """A share; "-" where there is none."""
    return "-" if share is None else f"{share:.1%}"


def rate(row: Result) -> str:
    """Success with its 95 % interval; the number of errors where there are some."""
    low, high = row["ci95"]
    success = f"{row['success']:.1%} ({low:.1%} to {high:.1%})" if row["n"] else "-"
    return success + (f", and {row['errors']} errors" if row.get("errors") else "")


def origin(result: Result) -> str:
    """The command, commit and machine of a result, and whether the checkout had changes beyond the commit."""
    hardware, packages = result["hardware"], result["packages"]
    gpu = "" if hardware["gpu"] == "none" else f", {hardware['gpu']}"
    commit, _, uncommitted = result["commit"].partition("-")
    commit = commit[:12] + (" with uncommitted changes" if uncommitted else "")
    return (
        f"`{result['command']}`, commit {commit}, {hardware['cpu']}, "
        f"{hardware['cores']} cores{gpu}, Python {result['python']}, torch {packages['torch']}, "
        f"transformers {packages['transformers']}."
    )


def without_module(method: str) -> str:
    """A method's name without the module that it comes from, and without the method that a control takes."""
    name, _, settings = method.partition(" ")
    kept = [setting for setting in settings.split() if not setting.startswith(INNER)]
    return " ".join([name.rpartition(":")[2], *kept])


def taken(methods: Iterable[str]) -> str:
    """A sentence on the controls among these methods that take another one's credit; empty without any."""
    found: dict[str, list[str]] = {}
    for method in methods:
        for setting in method.split()[1:]:
            if setting.startswith(INNER):
                inner = setting.removeprefix(INNER).replace(",", " ")
                found.setdefault(inner, []).append(f"`{without_module(method)}`")
    return "".join(
        f"{' and '.join(sorted(names))}: of the credit of `{inner}`. " for inner, names in found.items()
    )
