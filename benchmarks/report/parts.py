"""Parts that several tables of `benchmarks.report` share."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

Result = dict[str, Any]
INNER = "inner="
"""Setting of a control that names the method whose credit it takes."""

USUAL = {
    "accuracy": ("small", "test"),
    "learning": ("full", None),
    "qval": ("small", "test"),
    "two_knobs": ("small", "tuning"),
}
"""Task set and part of commands of the credit benchmark that are not told them."""


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
    """The command, commit and machine of a result, and whether the checkout had changes beyond the commit.

    Runs that a result took over from earlier ones have the commits of those.
    """
    hardware, packages = result["hardware"], result["packages"]
    gpu = "" if hardware["gpu"] == "none" else f", {hardware['gpu']}"
    earlier = ", ".join(map(_commit, result.get("kept", [])))
    taken_over = f" (runs taken over from commits {earlier})" if earlier else ""
    return (
        f"`{_command(result)}`, commit {_commit(result['commit'])}{taken_over}, {hardware['cpu']}, "
        f"{hardware['cores']} cores{gpu}, Python {result['python']}, torch {packages['torch']}, "
        f"transformers {packages['transformers']}."
    )


def _commit(name: str) -> str:
    """Twelve digits, and whether there were changes beyond it."""
    commit, _, uncommitted = name.partition("-")
    return commit[:12] + (" with uncommitted changes" if uncommitted else "")


def _command(result: Result) -> str:
    """The command of a result, with the task sets and seeds that the credit benchmark wrote beside it.

    The methods are those of the rows.
    """
    command, benchmark = str(result["command"]), module_of(result).rpartition(".")[2]
    if benchmark not in USUAL:
        return command
    sets = result.get("sets") or [result["set"]]
    first = result.get("first_seed", 0)
    flags = {
        "--set": "" if list(sets) == [USUAL[benchmark][0]] else f" {' '.join(sets)}",
        "--part": "" if result.get("part") in (None, USUAL[benchmark][1]) else f" {result['part']}",
        "--first_seed": f" {first}" if first else "",
        "--position": f" {result['position']}" if result.get("position") else "",
    }
    command += "".join(f" {name}{value}" for name, value in flags.items() if value and name not in command)
    return command + (" --match_norms" if result.get("matched") else "")


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
