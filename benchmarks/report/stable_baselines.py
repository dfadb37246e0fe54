"""Algorithms of stable-baselines3 in the pages."""

from benchmarks.report.parts import Result, origin, rate


def stable_baselines(result: Result) -> list[str]:
    """Agents and their success, and what each run took."""
    minutes = result["minutes"]
    lines = [
        f"| agent | success (95 % interval) | after {minutes:.0f} minutes | steps | minutes of one core |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        run = (
            f"{row['in_time']:.1%} | {row['steps']:,} | {row['seconds'] / 60:.1f}"
            if "in_time" in row
            else "| |"
        )
        lines.append(f"| {name} | {rate(row)} | {run} |")
    games, paid = next(iter(result["rows"].values()))["n"], result["paid_at_the_limit"]
    return [
        *lines,
        "",
        f"{games} held-out `tiny` games, played once with the best command of every state; the last test of "
        "a run counts, never the best one; the time of the tests is not counted. "
        f"{origin(result)}",
        "",
        f"Random play of {paid['n']} training games that the step limit ended: `optimal_distance` paid "
        f"{paid['mean']:.2f} back on average and up to {paid['max']:.1f}, where a good command earns 0.1; "
        f"{paid['lost']:.1%} of them could no longer be won.",
    ]
