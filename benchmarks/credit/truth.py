"""The truth about the steps of recorded episodes: optimal distances, and Monte-Carlo values.

    python -m benchmarks.credit.truth --out DIR [--set small] [--attempts 32] [--episodes 64] [--jobs 2]

There are two kinds of ground truth. Progress: by how many commands a step shortens the distance to the goal,
from the optimal distances in the records; for Search-QA, the share of gold passages that it adds. Advantage
of the acting policy: the mean return of fresh attempts after the step minus that before it, for one episode
of each of ``--episodes`` groups with different outcomes. The attempts start from snapshots and are played by
the policy that acted. Existing values are kept.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.credit.checks import check_attempts, positive
from benchmarks.credit.record import params
from benchmarks.credit.sets import PARTS, SETS, STAGES, Part, Stage, recorded, stage_policy, stages_of
from stepopsd_agent.accuracy import Values, read_values
from stepopsd_agent.batch import collate
from stepopsd_agent.learner import FreshAttempts, monte_carlo_values
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode, read_episodes


def chosen_episodes(episodes: Sequence[Episode], count: int, seed: int) -> list[Episode]:
    """One episode of each of `count` mixed groups, lost and won ones in turn where a group has both."""
    rng, by_group = np.random.default_rng(seed), dict[int, list[Episode]]()
    for episode in episodes:
        by_group.setdefault(episode.group, []).append(episode)
    mixed = [group for group in by_group.values() if len({episode.success for episode in group}) == 2]
    chosen = []
    for place, number in enumerate(rng.permutation(len(mixed))[:count]):
        kind = [episode for episode in mixed[number] if episode.success == bool(place % 2)]
        chosen.append(kind[int(rng.integers(len(kind)))])
    return chosen


def values_of(root: Path, name: str, stage: Stage, part: Part, episode: Episode, attempts: int) -> Values:
    """Fresh attempts from before every step of one episode."""
    torch.set_num_threads(1)
    chosen = SETS[name]
    config = chosen.settings()
    env = config.env.changed(**getattr(chosen, part))
    if "stack" not in _KEPT:
        _KEPT["stack"] = [make_stack(env) for _ in range(config.rollout.slots)]
        _KEPT["policy"] = stage_policy(root, name, stage)
    batch = collate([episode])
    fresh = FreshAttempts(attempts, 0.0, params(config), f"truth/{episode.group}")
    played = monte_carlo_values(_KEPT["policy"], _KEPT["stack"], [episode], batch, fresh).attempts
    steps = batch.steps.index_in_episode.tolist()
    returns = [
        tuple(
            sum(step.reward for step in attempt.steps[first:])
            for attempt in played[place * attempts : (place + 1) * attempts]
        )
        for place, first in enumerate(steps)
    ]
    return Values(episode.group, episode.member, tuple(returns), tuple(batch.steps.reward.tolist()))


_KEPT: dict[str, Any] = {}
"""Environments and policy of a worker process, which serves one recording only."""


def missing(chosen: Sequence[Episode], known: Sequence[Values]) -> Iterator[Episode]:
    """The episodes without values."""
    there = {(values.group, values.member) for values in known}
    return (episode for episode in chosen if (episode.group, episode.member) not in there)


def complete(root: Path, name: str, stage: Stage, part: Part, options: argparse.Namespace) -> None:
    """Add what is missing to the values beside one recording."""
    place = recorded(root, name, stage, part)
    path, began = place / "values.jsonl", time.perf_counter()
    path.touch()
    episodes = list(read_episodes(place / "episodes"))
    known = read_values(path)
    check_attempts(path, known, options.attempts)
    chosen = list(missing(chosen_episodes(episodes, options.episodes, seed=7), known))
    context = get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context) as pool, path.open("a", encoding="utf-8") as file:
        running = [
            pool.submit(values_of, root, name, stage, part, episode, options.attempts) for episode in chosen
        ]
        for number, future in enumerate(running, start=1):
            print(json.dumps(vars(future.result())), file=file, flush=True)
            print(f"{place}: {number} of {len(chosen)} episodes", file=sys.stderr)
    if chosen:
        seconds = round(time.perf_counter() - began, 1)
        facts = {"attempts": options.attempts, "episodes": options.episodes, "seconds": seconds}
        write_json_atomic(place / "values.json", {**facts, **environment_facts()})


def main() -> int:
    """Add the values that are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.credit.truth", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=sorted(SETS), nargs="+", default=["small"], help="task sets")
    parser.add_argument(
        "--stage", choices=STAGES, nargs="+", help="stages of training (default: all recorded)"
    )
    parser.add_argument("--part", choices=PARTS, nargs="+", default=["test"], help="tuning or test tasks")
    parser.add_argument("--attempts", type=positive, default=32, help="fresh attempts per state")
    parser.add_argument("--episodes", type=positive, default=64, help="episodes, of as many groups")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    options = parser.parse_args()
    try:
        stages = {name: stages_of(name, options.stage) for name in options.set}
    except ValueError as error:
        parser.error(str(error))
    try:
        for name in options.set:
            for stage in stages[name]:
                for part in options.part:
                    complete(options.out, name, stage, part, options)
    except FileNotFoundError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
