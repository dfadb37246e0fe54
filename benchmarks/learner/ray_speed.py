"""Episodes per second of one and of two Ray actors, one thread each, in turns on one machine.

``python -m benchmarks.learner.ray_speed --model FOLDER [--rounds 5] [--json OUT]`` plays the groups of an
update, as many as are usual and in the usual number of slots, with one actor, with two, and in this process,
round after round; the first, which starts them, does not count.
The ratio is the median over rounds. Target: two actors play 1.6 times as fast as one, on two cores. The
responses are compared with this process's as well: processors round sums over batches of other sizes
differently, which now and then decides a draw. As a control, this process plays in half the slots, too.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.output import write_result
from stepopsd_agent.config import EnvConfig, RolloutConfig
from stepopsd_agent.models import load_policy
from stepopsd_agent.rollout import Attempt, Backend, groups, rollout
from stepopsd_agent.rollout.engines import RayActors
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode

COMMAND = "python -m benchmarks.learner.ray_speed --model FOLDER"
FASTER = 1.6
USUAL = RolloutConfig()
GROUPS, SIZE, SLOTS = USUAL.tasks, USUAL.group_size, USUAL.slots


def responses(episodes: Sequence[Episode]) -> list[list[tuple[int, ...]]]:
    """Ids of every response of every episode."""
    return [[step.tokens.sampled_ids for step in e.steps if step.tokens] for e in episodes]


def equal_share(some: Sequence[Episode], others: Sequence[Episode]) -> float:
    """Share of the responses that are equal, up to the first of an episode that is not."""
    same = total = 0
    for one, other in zip(responses(some), responses(others), strict=True):
        differ = [a != b for a, b in zip(one, other, strict=False)]
        same += differ.index(True) if any(differ) else len(differ)
        total += max(len(one), len(other))
    return same / total


def measured(model: Path, rounds: int) -> dict[str, Any]:
    """Seconds of each way in each round, the ratio, and how many responses are equal."""
    policy, config = load_policy(model), EnvConfig()
    envs = [make_stack(config) for _ in range(SLOTS)]
    one, two = RayActors(1), RayActors(2)
    ways: dict[str, Backend] = {"this process": rollout, "one actor": one, "two actors": two}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    equal: dict[str, list[float]] = {name: [] for name in ("one actor", "two actors", "half the slots")}
    steps = 0
    for number in range(rounds + 1):
        attempts: list[Attempt] = groups(envs[0], count=GROUPS, size=SIZE, seed=0, update=number)
        played = dict[str, list[Episode]]()
        for name, backend in ways.items():
            begin = time.perf_counter()
            played[name] = backend(policy, envs, attempts, seed=number)
            if number:  # the first round starts actors and environments
                seconds[name].append(time.perf_counter() - begin)
        played["half the slots"] = rollout(policy, envs[: SLOTS // 2], attempts, seed=number)
        for name, found in equal.items():
            found.append(equal_share(played[name], played["this process"]))
        steps += sum(map(len, responses(played["this process"]))) if number else 0
        print(f"round {number} of {rounds}", file=sys.stderr)
    one.close()
    two.close()
    ratios = [a / b for a, b in zip(seconds["one actor"], seconds["two actors"], strict=True)]
    return {
        "schema": "stepopsd.ray_speed/1",
        "groups": GROUPS,
        "group_size": SIZE,
        "slots": SLOTS,
        "steps": steps,
        "seconds": {name: [round(s, 2) for s in some] for name, some in seconds.items()},
        "steps_per_second": {name: steps / sum(some) for name, some in seconds.items()},
        "times_one_actor": median(ratios),
        "target": FASTER,
        "equal_responses": {name: sum(found) / len(found) for name, found in equal.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 if two actors are slower than the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder, such as a warm start's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = measured(options.model, options.rounds)
    for name, speed in found["steps_per_second"].items():
        print(f"{name:14} {speed:8.1f} steps/s")
    print(f"two actors play {found['times_one_actor']:.2f} times as fast as one (target {FASTER})")
    if options.json is not None:
        write_result(options.json, found, COMMAND)
    for name, share in found["equal_responses"].items():
        print(f"{name:14} {share:.2%} of the responses equal this process's")
    return 0 if found["times_one_actor"] >= FASTER else 1


if __name__ == "__main__":
    raise SystemExit(main())
