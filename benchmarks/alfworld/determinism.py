"""Check that equal games, seeds and actions give equal episodes in every process and version of Python.

``python -m benchmarks.alfworld.determinism [--games DIR] [--python PATH ...] [--steps N] [--json OUT]
[--short]``

The benchmark plays 10,000 steps of random commands, some of them invalid, and hashes everything that reset
and step return, infos included: on generated games and, with ``--games``, on the official games below a
folder. It runs under three values of PYTHONHASHSEED, and on each Python 3.11, 3.12 and 3.13 that is on the
path or given with ``--python`` and has gymnasium and numpy. The exit code is 1 if a hash differs, 2 for bad
input. ``--short`` plays 2,000 steps.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

STEPS, SHORT_STEPS = 10_000, 2_000
HASH_SEEDS = ("0", "1", "4242")
VERSIONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).parents[2]


class Run(NamedTuple):
    """One process: its Python, its hash seed, and its hashes, or the reason why there are none."""

    python: str
    hash_seed: str
    hashes: dict[str, str]
    problem: str = ""


def play(steps: int, settings: dict[str, Any]) -> str:
    """Play this many steps and return the hash of everything that the environment returned."""
    import gymnasium as gym

    import stepopsd_envs  # noqa: F401  # registers the environments

    env: gym.Env[str, str] = gym.make("stepopsd/ALFWorld-v0", **settings)
    rng, digest = random.Random("determinism"), hashlib.sha256()
    call: tuple[Any, ...] = env.reset(seed=0)
    for _ in range(steps):
        digest.update(json.dumps(call, sort_keys=True).encode())
        if len(call) == 5 and (call[2] or call[3]):
            call = env.reset()
            digest.update(json.dumps(call, sort_keys=True).encode())
        command = rng.choice(call[-1]["admissible_commands"])
        call = env.step(command if rng.random() < 0.9 else command.upper())
    digest.update(json.dumps(call, sort_keys=True).encode())
    return digest.hexdigest()


def run(python: str, hash_seed: str, steps: int, games: Path | None) -> Run:
    """Play in a new process."""
    command = [python, "-m", "benchmarks.alfworld.determinism", "--child", f"--steps={steps}"]
    command += [] if games is None else [f"--games={games}"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "STEPOPSD_CACHE") if name in os.environ}
    environment = {**kept, "PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    except OSError as error:
        return Run(python, hash_seed, {}, f"cannot be started ({error.strerror})")
    if result.returncode:
        return Run(python, hash_seed, {}, (result.stderr.strip().splitlines() or ["no message"])[-1])
    version, *pairs = result.stdout.split()
    return Run(f"Python {version}", hash_seed, dict(zip(pairs[::2], pairs[1::2], strict=True)))


def child(steps: int, games: Path | None) -> None:
    """Print the version of this Python, and the name and hash of each set of games."""
    played = {"generated": play(steps, {"tier": "small"})}
    if games is not None:
        played["official"] = play(steps, {"games": games})
    print(sys.version.split()[0], *(word for pair in played.items() for word in pair))


def pythons(given: Sequence[str]) -> list[str]:
    """The other interpreters to compare: those given, and those on the path."""
    on_path = [shutil.which(f"python{version}") for version in VERSIONS]
    return [*given, *(path for path in on_path if path is not None)]


def compare(given: Sequence[str], steps: int, games: Path | None) -> tuple[list[Run], list[Run]]:
    """Run under each hash seed on this Python, and on the others; return successful runs and failed ones."""
    runs = [run(sys.executable, seed, steps, games) for seed in HASH_SEEDS]
    for python in pythons(given):
        other = run(python, "7", steps, games)
        if other.problem or other.python not in {known.python for known in runs}:
            runs.append(other)
    return [run_ for run_ in runs if not run_.problem], [run_ for run_ in runs if run_.problem]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.alfworld.determinism", description="Equal episodes.")
    parser.add_argument("--games", type=Path, help="folder of official games, played as well")
    parser.add_argument("--python", action="append", default=[], help="a Python to compare; may be repeated")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_STEPS:,} steps")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    steps = SHORT_STEPS if arguments.short else arguments.steps
    games = None if arguments.games is None else arguments.games.absolute()
    if arguments.child:
        child(steps, games)
        return 0
    done, skipped = compare(arguments.python, steps, games)
    for run_ in done:
        print(f"{run_.python}, PYTHONHASHSEED={run_.hash_seed}: {run_.hashes}")
    for run_ in skipped:
        print(f"not compared: {run_.python}: {run_.problem}")
    if len(done) < len(HASH_SEEDS):
        print(f"error: {skipped[0].problem}", file=sys.stderr)
        return 2
    same = all(run_.hashes == done[0].hashes for run_ in done)
    versions = sorted({run_.python for run_ in done})
    if arguments.json:
        from benchmarks.output import write_result

        figures = {
            "steps": steps,
            "same": same,
            "hashes": done[0].hashes,
            "hash_seeds": HASH_SEEDS,
            "pythons": versions,
        }
        write_result(arguments.json, figures, "python -m benchmarks.alfworld.determinism --games DIR")
    answer = "the same hashes" if same else "DIFFERENT hashes"
    print(f"{answer} of {steps} steps in {len(done)} processes: {', '.join(versions)}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
