"""``stepopsd compare``: evaluations of the same tasks, compared task by task."""

import argparse
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder
from stepopsd_agent.cli.output_paths import fresh_file
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.run.files import write_json_atomic

HELP = "compare evaluations of the same tasks: paired test, intervals, and whether the difference is noise"
USES: frozenset[str] = frozenset()
SCHEMA = "stepopsd.comparison/1"
LEGEND = """The exact sign test tells whether two differ: it counts tasks, and p below 0.05 (Holm's, where
several are compared) is more than noise. The interval tells how far mean success may be apart; it is
approximate: where it seems to say otherwise, go by the test. Task types are tested one by one, so some
may be below 0.05 by chance."""


def add_flags(parser: Parser) -> None:
    """The folders, and where the figures go."""
    parser.add_argument(
        "folders",
        nargs="+",
        type=str,
        help="what stepopsd eval --out wrote, or run folders; each is compared with the first",
    )
    parser.add_argument(
        "--json", type=str, default=argparse.SUPPRESS, metavar="OUT", help="write the figures to this file"
    )


def run(settings: Namespace) -> int:
    """Compare every folder with the first one; print tables and a sentence for each."""
    from stepopsd_agent.run import compare_folders, environment_facts

    names: list[str] = settings.folders
    if len({episode_folder(name).resolve() for name in names}) < max(2, len(names)):
        raise UsageError(
            f"compare needs two different folders or more, got {', '.join(names)}; write them with: "
            "stepopsd eval --out FOLDER"
        )
    json_file = fresh_file(settings.json, "--json") if "json" in settings else None
    with settings_checked():
        compared = compare_folders({name: episode_folder(name) for name in names})
    content = {"schema": SCHEMA, **compared}
    print(comparison_text(content))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(json_file, {**content, **environment_facts()})
        print(f"written to {json_file}")
    return 0


def comparison_text(content: dict[str, Any]) -> str:
    """The tables and sentences."""
    from stepopsd_agent.rollout import table_text

    rows = {entry["folder"]: entry for entry in content["folders"]}
    again = any("tasks" in row for row in rows.values())
    parts = [table_text("folder", rows, "tasks" if again else "episodes")]
    parts += [_comparison(entry, len(content["compared"])) for entry in content["compared"]]
    parts.append(LEGEND)
    if any((episode_folder(name).parent / "metrics.jsonl").is_file() for name in rows):
        parts.append(
            "note: a run folder keeps the episodes of training, of all its updates; for held-out tasks play "
            "its model with: stepopsd eval --out FOLDER"
        )
    return "\n\n".join(parts)


def _comparison(entry: dict[str, Any], comparisons: int) -> str:
    """One folder against the first: the sentence, then the task types."""
    low, high = entry["ci95"]
    counts = f"better on {entry['better']} tasks, worse on {entry['worse']}, equal on {entry['equal']}"
    corrected = f", {entry['p_holm']:.3g} for {comparisons} comparisons (Holm)" if comparisons > 1 else ""
    lines = [
        f"{entry['folder']} against {entry['against']}: mean success {_points(entry['difference'])} points, "
        f"95 % interval {_points(low)} to {_points(high)} ({entry['interval']})",
        f"{counts}; exact sign test p = {entry['p']:.3g}{corrected}",
        *_verdict(entry),
    ]
    if entry["left_out"]:
        lines.append(f"{entry['left_out']} pairs in which one ended in an error are left out")
    for name, (theirs, two) in entry["settings"].items():
        lines.append(f"note: {name} is {two}, and {theirs} in {entry['against']}")
    if len(entry["by_task_type"]) > 1:
        lines += ["", *_by_type(entry["by_task_type"])]
    return "\n".join(lines)


def _verdict(entry: dict[str, Any]) -> list[str]:
    """What the test says, and why where the interval shown seems to say something else."""
    if entry["same_episodes"] == entry["pairs"]:
        return ["the same: every pair of episodes has the same actions and observations, step for step"]
    low, high = (round(100 * bound, 1) for bound in entry["ci95"])
    side = (low > 0) - (high < 0)  # on which the interval lies; 0 where it holds 0
    if entry["within_noise"]:
        lines = ["within noise: by the test these tasks do not tell which of the two is better"]
        if side:
            several = ", for this comparison alone" if entry["p"] < entry["p_holm"] else ""
            lines.append(f"the interval leaves out 0 all the same{several}: more tasks would tell")
        return lines
    sign = 1 if entry["better"] > entry["worse"] else -1
    more, fewer = (entry["better"], entry["worse"])[::sign]
    word = "better" if sign > 0 else "worse"
    differing = f"{more} of the {more + fewer} tasks that differ"
    lines = [f"more than noise: by the test {entry['folder']} is {word}, on {differing}"]
    if entry["difference"] * sign < 0:
        lines.append("mean success goes the other way: the fewer tasks differ by more")
    elif side != sign:
        lines.append("by how much is open: the interval of mean success holds 0")
    return lines


def _by_type(types: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each type; one without a pair that counts has no figures to show."""
    width = max(map(len, ["task type", *types]))
    columns = [
        "better",
        "worse",
        "equal",
        *(["left_out"] if any(r["left_out"] for r in types.values()) else []),
    ]
    heads = "  ".join(name.replace("_", " ") for name in columns)
    lines = [f"{'task type':<{width}}  points      95 % interval  {heads}  p (each by itself)"]
    for name, row in types.items():
        points, interval, p = "-", "-", "-"
        if row["n"]:
            points, (low, high), p = _points(row["difference"]), row["ci95"], f"{row['p']:.3g}"
            interval = f"{_points(low)} to {_points(high)}"
        counts = "  ".join(f"{row[column]:>{len(column)}}" for column in columns)
        lines.append(f"{name:<{width}}  {points:>6}  {interval:>17}  {counts}  {p}")
    return lines


def _points(share: float) -> str:
    """Percentage points with their sign."""
    return f"{100 * share:+.1f}"
