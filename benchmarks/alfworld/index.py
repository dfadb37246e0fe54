"""Time to index the games of a split, and to open them later.

``python -m benchmarks.alfworld.index --data-root DIR [--split train] [--json OUT] [--short]`` makes the
environment in a process with an empty cache, then in a second process with the cache of the first, and there
twice more, the last time with a filter. Each time it gets the ids and the fingerprint of all games. Targets:
indexing within 10 s, opening within 0.2 s.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.output import write_result

INDEXED_S, OPENED_S = 10.0, 0.2
COMMAND = "python -m benchmarks.alfworld.index --data-root DIR"
PROGRAM = """
import json, sys, time
import gymnasium as gym
import stepopsd_envs.alfworld.env

def opened(**arguments):
    began = time.perf_counter()
    env = gym.make("stepopsd/ALFWorld-v0", games=sys.argv[1], data_root=sys.argv[2], **arguments).unwrapped
    facts = len(env.task_ids), env.fingerprint
    return time.perf_counter() - began, *facts

first, games, fingerprint = opened()
again, _, _ = opened()
filtered, _, _ = opened(task_types=["pick_two_obj_and_place"], num_games=1)
print(json.dumps([first, again, filtered, games, fingerprint]))
"""


def timed(split: str, root: str, cache: str) -> list[Any]:
    """Run the program in a new process and return what it prints."""
    command = [sys.executable, "-c", PROGRAM, split, root]
    environment = {**os.environ, "STEPOPSD_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    printed: list[Any] = json.loads(done.stdout)
    return printed


def measure(split: str, root: str) -> dict[str, Any]:
    """Seconds to index the games and to open them in each way."""
    with tempfile.TemporaryDirectory() as cache:
        indexed, *_ = timed(split, root, cache)
        opened, again, filtered, games, fingerprint = timed(split, root, cache)
    return {
        "split": split,
        "games": games,
        "fingerprint": fingerprint,
        "indexed_s": indexed,
        "opened_s": opened,
        "opened_again_s": again,
        "opened_filtered_s": filtered,
    }


def missed(result: Mapping[str, Any]) -> list[str]:
    """The targets missed."""
    limits = {"indexed_s": INDEXED_S, "opened_s": OPENED_S}
    return [name for name, limit in limits.items() if result[name] > limit]


def report(result: Mapping[str, Any]) -> str:
    """The figures in one line."""
    first, again, filtered = (
        f"{1e3 * result[name]:.0f} ms" for name in ("opened_s", "opened_again_s", "opened_filtered_s")
    )
    ratio = result["indexed_s"] / result["opened_s"]
    return (
        f"{result['games']:,} games of {result['split']}: indexed in {result['indexed_s']:.2f} s, opened by "
        f"another process in {first} ({ratio:.0f} times faster), again in {again}, filtered in {filtered}; "
        f"targets missed: {', '.join(missed(result)) or 'none'}"
    )


def main() -> int:
    """Measure, print, write; return 1 for a missed target, 2 for bad input, else 0."""
    parser = argparse.ArgumentParser(description="Time the index of official games.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder with the official splits")
    parser.add_argument("--split", default="train", help="which (default: train)")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--short", action="store_true", help="takes seconds anyway: changes nothing")
    arguments = parser.parse_args()
    try:
        result = measure(arguments.split, str(arguments.data_root.absolute()))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        write_result(arguments.json, result, COMMAND)
    print(report(result))
    return 1 if missed(result) else 0


if __name__ == "__main__":
    sys.exit(main())
