"""Ground truth about recorded steps: progress towards the goal, and returns of fresh attempts from there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from stepopsd_agent.accuracy.measures import Array
from stepopsd_envs.plain_file import plain_file
from stepopsd_wrappers import Episode

UNREACHABLE = -2


def progress(episode: Episode) -> list[float] | None:
    """Progress of each step after the reset; None if the records contain neither distances nor gold passages.

    From optimal distances, in commands: the decrease of the distance. A step that makes the goal unreachable
    gets minus the initial distance minus 1; later steps get 0.

    For questions, from the share of the gold passages seen so far: a search or an invalid step gets the share
    that it adds, 0 if it shows no new ones. An answer gets 1 if all gold passages were seen before it: this
    was the moment to stop. If not, it is premature and gets -1, right or wrong, as the others can no longer
    be found.
    """
    distances = [step.info.get("optimal_distance", -1) for step in episode.steps]
    if -1 not in distances:
        beyond = max(distances[0], 0) + 1
        return [
            0.0 if before == UNREACHABLE else float(-beyond if after == UNREACHABLE else before - after)
            for before, after in pairwise(distances)
        ]
    seen = [float(step.info.get("gold_seen", -1.0)) for step in episode.steps]
    if -1.0 in seen:
        return None
    answers = [step.info["step"]["kind"] == "answer" for step in episode.steps[1:]]
    return [
        (1.0 if before == 1.0 else -1.0) if answer else after - before
        for answer, (before, after) in zip(answers, pairwise(seen), strict=True)
    ]


@dataclass(frozen=True)
class Values:
    """Returns of fresh attempts from before every step of one episode.

    Attributes:
        group: of the episode.
        member: of the episode.
        returns: for every step the sum of rewards from it on, undiscounted, of each attempt.
        rewards: of each recorded step.
    """

    group: int
    member: int
    returns: tuple[tuple[float, ...], ...]
    rewards: tuple[float, ...]

    def advantages(self, attempts: slice = slice(None)) -> np.ndarray:
        """[steps] reward plus value after each step minus the value before it, from these attempts alone."""
        values = np.array([np.mean(returns[attempts]) for returns in self.returns])
        after = np.append(values[1:], 0.0)
        return np.asarray(np.array(self.rewards) + after - values)


def read_values(path: Path) -> list[Values]:
    """The values in a file that `benchmarks.credit.truth` wrote, one episode per line."""
    lines = plain_file(path).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [
        Values(
            record["group"],
            record["member"],
            tuple(tuple(returns) for returns in record["returns"]),
            tuple(record["rewards"]),
        )
        for record in records
    ]


@dataclass(frozen=True)
class Judged:
    """Ground truth about the episodes of a recording; every list has one entry per episode.

    Attributes:
        tasks: group of the episode, the unit of the bootstrap.
        progress: [steps] as `progress` gives it.
        won: whether the episode succeeded.
        mixed: whether its group has won and lost episodes.
        values: its Monte-Carlo values, or None.
    """

    tasks: list[int]
    progress: list[Array]
    won: list[bool]
    mixed: list[bool]
    values: list[Values | None]


def judged(episodes: Sequence[Episode], values: Sequence[Values]) -> Judged:
    """Ground truth about episodes, with the Monte-Carlo values of those that have some.

    Raises:
        ValueError: the records of an episode contain no progress.
    """
    distances = [progress(episode) for episode in episodes]
    if None in distances:
        raise ValueError("the records contain no distance to the goal; record with env.oracle=true")
    outcomes: dict[int, set[bool]] = {}
    for episode in episodes:
        outcomes.setdefault(episode.group, set()).add(episode.success)
    by_name = {(value.group, value.member): value for value in values}
    return Judged(
        [episode.group for episode in episodes],
        [np.array(steps) for steps in distances],
        [episode.success for episode in episodes],
        [len(outcomes[episode.group]) == 2 for episode in episodes],
        [by_name.get((episode.group, episode.member)) for episode in episodes],
    )
