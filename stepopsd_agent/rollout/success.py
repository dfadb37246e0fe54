"""Success rates with their intervals, in all and by task type, and what was played."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stepopsd_agent.ops import proportion
from stepopsd_agent.rollout.grouping import valid_episodes
from stepopsd_envs.manifest import fingerprint
from stepopsd_wrappers import Episode


def success_table(episodes: Sequence[Episode], measures: Sequence[str] = ()) -> dict[str, Any]:
    """Success rate with its Wilson 95 % interval, in all and by task type.

    Episodes that ended in an error are counted under ``errors`` and nowhere else, also by task type.

    Args:
        episodes: finished ones.
        measures: keys of ``info`` whose values at the end of an episode are averaged, too.

    Returns:
        ``{success, n, ci95: [low, high], mean_steps, errors, by_task_type}``, of every type ``{success, n,
        ci95, errors}``, and with measures ``means: {measure: mean}``.
    """
    valid = valid_episodes(episodes)
    by_type: dict[str, list[bool]] = defaultdict(list)
    broken = Counter(episode.task_type for episode in episodes if episode.failed)
    for episode in valid:
        by_type[episode.task_type].append(episode.success)
    table = {
        **proportion(sum(e.success for e in valid), len(valid)),
        "mean_steps": sum(e.num_steps for e in valid) / max(1, len(valid)),
        "errors": len(episodes) - len(valid),
        "by_task_type": {
            name: proportion(sum(by_type[name]), len(by_type[name])) | {"errors": broken[name]}
            for name in sorted(by_type.keys() | broken.keys())
        },
    }
    means = {name: sum(e.steps[-1].info[name] for e in valid) / max(1, len(valid)) for name in measures}
    return {**table, "means": means} if measures else table


def played_data(episodes: Sequence[Episode]) -> dict[str, str]:
    """Fingerprint of the tasks that one agent played, and version of the engine that played them."""
    sets = dict.fromkeys(episode.fingerprint for episode in episodes)
    return {"fingerprint": joined(list(sets)), "engine_version": episodes[0].engine_version}


def joined(fingerprints: Sequence[str]) -> str:
    """One fingerprint of several sets in their order; that of a single set is its own."""
    return fingerprints[0] if len(fingerprints) == 1 else fingerprint((f, "") for f in fingerprints)


def table_text(title: str, rows: Mapping[str, Mapping[str, Any]], unit: str = "games") -> str:
    """Rows of success with their intervals, aligned, one line each below a heading.

    A last column counts the episodes that ended in an error, if there are any: they are no part of the rest.
    """
    width, last = max(map(len, [title, *rows])), max(len(unit), 5)
    errors = {name: row.get("errors", 0) for name, row in rows.items()}
    some = any(errors.values())
    lines = [f"{title:<{width}}  success    95 % interval  {unit:>{last}}{'  errors' * some}"]
    for name, row in rows.items():
        low, high = row["ci95"]
        interval, failed = f"{low:.1%} to {high:.1%}", f"  {errors[name]:>6}" if some else ""
        lines.append(f"{name:<{width}}  {row['success']:>7.1%}  {interval:>15}  {row['n']:>{last}}{failed}")
    return "\n".join(lines)
