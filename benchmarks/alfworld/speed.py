"""Speed of the ALFWorld environment, and the ratio to TextWorld on the same games and actions.

``python -m benchmarks.alfworld.speed --games DIR [--textworld-python PATH] [--json OUT] [--short]``
measures on the official games below DIR: steps per second through ``gym.make`` with full info on kitchens
(the largest rooms), resets included; 128 games in one process; the time of a first load and of a warm reset;
indexing all games once and opening them again; memory for all games loaded at once, and its growth in random
play; the optimal distance. TextWorld plays the same games with the same actions in the same run and must give
the same observations.

The parts run one after the other, each in a new process (``benchmarks/alfworld/speed_parts.py``). Times are
CPU seconds, since these hardly depend on other work on the machine. Timed parts are repeated and the best
counts; the median is in the JSON. The ratio is that of medians: of a step of TextWorld, and of a step here in
whole episodes, reset included. TextWorld runs on this Python, or on the Python given by
``--textworld-python``; if it is not installed, there is no ratio. Linux only.

The table shows the target of each figure; the exit code is 1 if one is missed, 2 for bad input. ``--short``
has fewer repeats and steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.output import write_result
from stepopsd_envs.extras import install_command

ROOT = Path(__file__).parents[2]
MISSING = 3  # exit code of speed_textworld without the packages
GET_TEXTWORLD = (
    f"{install_command('alfworld')}, or name a Python that has alfworld and textworld[pddl] with "
    "--textworld-python"
)


class Size(NamedTuple):
    """Size of the benchmark."""

    kitchens: int
    repeats: int
    rounds: int  # steps of the vector environment
    growth_steps: int
    textworld_games: int
    textworld_steps: int


FULL = Size(20, 15, 500, 1_000_000, 5, 40)
SHORT = Size(8, 5, 100, 100_000, 2, 12)
NUM_ENVS = 128


class Target(NamedTuple):
    """The target of a figure: its key, its name, and its least or greatest value."""

    key: str
    name: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value meets the target."""
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS = (
    Target("steps_per_s", "steps/s through gym.make, full info, kitchens", 20_000, True),
    Target("textworld_ratio", "times as fast as TextWorld, same games and actions", 1_000, True),
    Target("vector_steps_per_s", f"steps/s of {NUM_ENVS} games in one process", 15_000, True),
    Target("warm_reset_ms", "ms per warm reset", 1),
    Target("first_load_ms", "ms to load the first game of a process", 25),
    Target("index_s", "s to index all games once", 10),
    Target("open_s", "s to open them again", 0.2),
    Target("memory_mb", "MB for all games loaded at once", 400),
    Target("growth_mb", "MB of growth in random play, after the first tenth", 2),
    Target("distance_ms", "ms per optimal distance, median", 2),
    Target("oracle_steps_per_s", "steps/s with oracle=True", 2_000, True),
)


def measure(folder: Path, size: Size, textworld: str) -> dict[str, Any]:
    """All figures."""
    found = part("kitchens", folder=str(folder), count=size.kitchens)
    plays = found["plays"]
    if not plays:
        raise ValueError(
            f"{folder} has {found['games']} official games, none in a kitchen: give another folder"
        )
    figures = {"games": found["games"], "kitchens": len(plays)}
    figures |= part("steps", plays=plays, repeats=size.repeats)
    figures |= part("vector", plays=plays, num_envs=NUM_ENVS, rounds=size.rounds)
    loads = [part("first_load", file=play["game"])["first_load_ms"] for play in plays[:3]]
    figures |= {"first_load_ms": min(loads), "first_loads_ms": loads}
    figures |= index(folder)
    figures |= part("memory", folder=str(folder))
    figures |= part("growth", plays=plays, count=size.growth_steps)
    figures |= part("oracle", plays=plays, repeats=max(2, size.repeats // 5))
    chosen = [
        {**play, "actions": play["actions"][: size.textworld_steps]} for play in plays[: size.textworld_games]
    ]
    return figures | beside_textworld(chosen, size.repeats, textworld)


def part(name: str, **arguments: Any) -> dict[str, Any]:
    """Measure one part in a new process and return its figures."""
    command = [sys.executable, "-m", "benchmarks.alfworld.speed_parts", name, json.dumps(arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise ValueError(f"the part {name!r} failed:\n{result.stderr.strip()}")
    figures: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return figures


def index(folder: Path) -> dict[str, Any]:
    """Seconds for a process that opens this folder with an empty cache, and for one with a filled cache."""
    cache_before = os.environ.get("STEPOPSD_CACHE")
    first, again = [], []
    try:
        for _ in range(2):
            with tempfile.TemporaryDirectory() as cache:
                os.environ["STEPOPSD_CACHE"] = cache
                first.append(part("opening", folder=str(folder)))
                again += [part("opening", folder=str(folder)) for _ in range(2)]
    finally:
        os.environ.pop("STEPOPSD_CACHE")
        os.environ.update({} if cache_before is None else {"STEPOPSD_CACHE": cache_before})
    return {
        "index_s": min(row["seconds"] for row in first),
        "open_s": min(row["seconds"] for row in again),
        "index_wall_s": min(row["wall_seconds"] for row in first),
        "open_wall_s": min(row["wall_seconds"] for row in again),
        "indexed_games": first[0]["games"],
        "fingerprint": first[0]["fingerprint"],
    }


def beside_textworld(plays: list[dict[str, Any]], repeats: int, python: str) -> dict[str, Any]:
    """TextWorld's figures and the ratio; if TextWorld is missing, the reason."""
    command = [python, str(Path(__file__).with_name("speed_textworld.py"))]
    try:
        result = subprocess.run(command, input=json.dumps(plays), capture_output=True, text=True)
    except OSError as error:
        raise ValueError(f"--textworld-python {python} cannot be started ({error.strerror})") from error
    if result.returncode == MISSING:
        return {"textworld": f"not installed ({result.stdout.strip()}): {GET_TEXTWORLD}"}
    if result.returncode:
        raise ValueError(f"TextWorld failed on {python}:\n{result.stderr.strip()}")
    timed = json.loads(result.stdout.splitlines()[-1])
    native = part("steps", plays=plays, repeats=repeats)["median_steps_per_s"]
    steps_s = [seconds for play in timed for seconds in play["steps_s"]]
    observations = part("observations", plays=plays)["observations"]
    return {
        "textworld": "installed",
        "textworld_games": len(plays),
        "textworld_steps": len(steps_s),
        "textworld_steps_per_s": 1 / median(steps_s),
        "textworld_load_s": median(play["load_s"] for play in timed),
        "textworld_reset_s": median(play["reset_s"] for play in timed),
        "textworld_says_the_same": observations == [play["observations"] for play in timed],
        "native_steps_per_s": native,
        "textworld_ratio": native * median(steps_s),
    }


def table(figures: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The lines of the table, and the names of the missed targets."""
    lines, missed = [], []
    for target in TARGETS:
        bound = f"{'at least' if target.at_least else 'at most'} {target.limit:,g}"
        if target.key not in figures:
            lines.append(f"{'-':>12}  {target.name} ({bound}): not measured")
            continue
        met = target.met(figures[target.key])
        missed += [] if met else [target.name]
        mark = "" if met else "  MISSED"
        lines.append(f"{figures[target.key]:>12,.4g}  {target.name} ({bound}){mark}")
    if figures.get("textworld_says_the_same") is False:
        missed.append("the same observations as TextWorld")
    return lines, missed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.alfworld.speed", description="Speed of the games.")
    parser.add_argument("--games", type=Path, required=True, help="folder of official games")
    parser.add_argument("--textworld-python", default=sys.executable, help="a Python with alfworld installed")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="fewer steps and repeats")
    arguments = parser.parse_args(argv)
    size = SHORT if arguments.short else FULL
    try:
        figures = measure(arguments.games.absolute(), size, arguments.textworld_python)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines, missed = table(figures)
    print("\n".join(lines))
    if "textworld_ratio" in figures:
        print(
            f"TextWorld: {figures['textworld_steps_per_s']:.1f} steps/s, {figures['textworld_load_s']:.2f} s "
            f"per load, {figures['textworld_reset_s']:.2f} s per reset; "
            f"observations {'identical' if figures['textworld_says_the_same'] else 'DIFFERENT'}"
        )
    else:
        print(f"TextWorld: {figures['textworld']}")
    if arguments.json:
        shown = {"size": size._asdict(), "missed": missed, **figures}
        write_result(arguments.json, shown, "python -m benchmarks.alfworld.speed --games DIR")
    measured = [target for target in TARGETS if target.key in figures]
    good = sum(target.met(figures[target.key]) for target in measured)
    print(f"{good} of {len(measured)} targets met" + (f"; missed: {missed}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
