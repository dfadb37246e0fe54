"""The speed that must not be lost: ratios of two ways in one run, compared with the committed ones.

``python -m benchmarks.speed_ratios [--write]`` takes about a minute, on any machine:

- decoder: tokens per second, compared with the same decoder over transformers' cache, and with ``generate``;
- scoring: a step's hindsight in a prefix tree, compared with one row per step;
- update: packed rows, compared with padded ones;
- environments: steps per second of the in-process vector environment, compared with Gymnasium's ``sync`` one.

A ratio below `LEAST` of the committed one makes the exit code 1. Absolute times are not compared: machines
differ, and other work shares them. ``--write`` writes them anew.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym
import torch

import stepopsd_envs  # noqa: F401  # registers the environments
from benchmarks.learner.decode_speed import Lengths, measured, model
from benchmarks.learner.rescore_cost import measure
from benchmarks.output import write_result
from benchmarks.runs.commands import read

COMMAND = "python -m benchmarks.speed_ratios"
RESULT = Path(__file__).parent / "results" / "speed_ratios.json"
LEAST = 0.6
"""Share of a committed ratio that is enough: short measurements on shared machines differ by a third."""
ENVS, STEPS, ROUNDS = 16, 150, 5


def stepping(mode: str | None) -> Callable[[], float]:
    """Steps per second of ``look`` in small houses, side by side; None: the in-process vector environment."""
    options: dict[str, Any] = {"tier": "small", "num_games": ENVS}
    envs = gym.make_vec("stepopsd/ALFWorld-v0", ENVS, vectorization_mode=mode, **options)

    def once() -> float:
        envs.reset(seed=0)
        began = time.process_time()
        for _ in range(STEPS):
            envs.step(["look"] * ENVS)
        return ENVS * STEPS / (time.process_time() - began)

    return once


def environments() -> float:
    """How many times as fast as Gymnasium's own vector environment; median over rounds that alternate."""
    ours, theirs = stepping(None), stepping("sync")
    return median(ours() / theirs() for _ in range(ROUNDS))


def ratios() -> dict[str, float]:
    """All of them, larger is better."""
    decoder = measured(model("tiny"), 32, 8, Lengths(16, varied=True), rounds=3, engine=None)["times"]
    scoring = measure(short=True)
    return {
        "decoder over transformers' cache": decoder["concatenated"],
        "decoder over generate": decoder["generate"],
        "scoring in a tree over rows": scoring["correctness_inline"]["less_time"],
        "update packed over padded": scoring["update"]["padded_over_packed"],
        "vector environment over gymnasium's": round(environments(), 2),
    }


def compared(found: dict[str, float], committed: dict[str, float]) -> list[str]:
    """A line for every ratio that is too small, or not measured any more."""
    lines = []
    for name, before in committed.items():
        now = found.get(name)
        if now is None or now < LEAST * before:
            lines.append(f"{name}: {now}, committed {before}, at least {LEAST * before:.2f} is expected")
    return lines


def main() -> int:
    """Measure, print, and compare or write."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} instead of comparing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = ratios()
    for name, ratio in found.items():
        print(f"{name}: {ratio}")
    if options.write:
        write_result(RESULT, {"ratios": found}, COMMAND)
        return 0
    slower = compared(found, read(RESULT)["ratios"])
    for line in slower:
        print(f"slower: {line}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    raise SystemExit(main())
