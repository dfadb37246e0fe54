"""Success rates with their intervals, in all and by task type, and what was played."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stepopsd_agent.ops import clustered_proportion
from stepopsd_agent.rollout.grouping import valid_episodes
from stepopsd_envs.manifest import fingerprint
from stepopsd_wrappers import Episode


def success_table(episodes: Sequence[Episode], measures: Sequence[str] = ()) -> dict[str, Any]:
    """Success rate with its Wilson 95 % interval, in all and by task type.

    Episodes that ended in an error are counted under ``errors`` and nowhere else, also by task type. Where
    tasks were played again, ``tasks`` counts them, and the interval is that of `clustered_proportion`.

    Args:
        episodes: finished ones.
        measures: keys of ``info`` whose values at the end of an episode are averaged, too.

    Returns:
        ``{success, n, ci95: [low, high], mean_steps, errors, by_task_type}``, of every type ``{success, n,
        ci95, errors}``, and with measures ``means: {measure: mean}``.
    """
    valid = valid_episodes(episodes)
    by_type: dict[str, list[Episode]] = defaultdict(list)
    broken = Counter(episode.task_type for episode in episodes if episode.failed)
    for episode in valid:
        by_type[episode.task_type].append(episode)
    table = {
        **_proportion(valid),
        "mean_steps": sum(e.num_steps for e in valid) / max(1, len(valid)),
        "errors": len(episodes) - len(valid),
        "by_task_type": {
            name: _proportion(by_type[name]) | {"errors": broken[name]}
            for name in sorted(by_type.keys() | broken.keys())
        },
    }
    means = {name: sum(e.steps[-1].info[name] for e in valid) / max(1, len(valid)) for name in measures}
    return {**table, "means": means} if measures else table


def headline(table: Mapping[str, Any]) -> dict[str, Any]:
    """Success, its interval and the number of attempts; those of tasks and of errors where there are some."""
    found = {key: table[key] for key in ("success", "n", "tasks", "ci95") if key in table}
    return found | ({"errors": table["errors"]} if table.get("errors") else {})


def describe(table: Mapping[str, Any], unit: str = "games") -> str:
    """One line of a success table."""
    if table.get("errors") and not table["n"]:
        return f"no success to report: all {table['errors']} {unit} ended in an error"
    low, high = table["ci95"]
    errors = f"; {table['errors']} more ended in an error" if table.get("errors") else ""
    interval = f"95 % interval {low:.1%} to {high:.1%}"
    count = f"{table['n']} attempts at {table['tasks']}" if "tasks" in table else f"{table['n']}"
    return f"success {table['success']:.1%} of {count} {unit} ({interval}){errors}"


def _proportion(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Success of some episodes, by task: tasks of two sets may have the same name."""
    outcomes: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for episode in episodes:
        outcomes[episode.fingerprint, episode.task_id].append(episode.success)
    return clustered_proportion(outcomes)


def played_data(episodes: Sequence[Episode]) -> dict[str, str]:
    """Fingerprint of the tasks that one agent played, and version of the engine that played them."""
    sets = dict.fromkeys(episode.fingerprint for episode in episodes)
    return {"fingerprint": joined(list(sets)), "engine_version": episodes[0].engine_version}


def joined(fingerprints: Sequence[str]) -> str:
    """One fingerprint of several sets in their order; that of a single set is its own."""
    return fingerprints[0] if len(fingerprints) == 1 else fingerprint((f, "") for f in fingerprints)


def table_text(title: str, rows: Mapping[str, Mapping[str, Any]], unit: str = "games") -> str:
    """Rows of success with their intervals, aligned, one line each below a heading.

    Where tasks were played more than once, attempts and tasks have a column each. A last column counts the
    episodes that ended in an error, if there are any: they are no part of the rest. A row in which all did
    has no rate to show.
    """
    width = max(map(len, [title, *rows]))
    counts = {unit: [row.get("tasks", row["n"]) for row in rows.values()]}
    if any("tasks" in row for row in rows.values()):
        counts = {"attempts": [row["n"] for row in rows.values()], **counts}
    errors = [row.get("errors", 0) for row in rows.values()]
    if any(errors):
        counts["errors"] = errors
    columns = [
        [f"{cell:>{max(len(name), 5)}}" for cell in (name, *numbers)] for name, numbers in counts.items()
    ]
    heading, *ends = ["  ".join(cells) for cells in zip(*columns, strict=True)]
    lines = [f"{title:<{width}}  success    95 % interval  {heading}"]
    for (name, row), end in zip(rows.items(), ends, strict=True):
        low, high = row["ci95"]
        rate, interval = (f"{row['success']:.1%}", f"{low:.1%} to {high:.1%}") if row["n"] else ("-", "-")
        lines.append(f"{name:<{width}}  {rate:>7}  {interval:>15}  {end}")
    return "\n".join(lines)
