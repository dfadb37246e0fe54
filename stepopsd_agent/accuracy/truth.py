"""What is known about recorded steps: how far the goal was, and what fresh attempts from there return."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from stepopsd_agent.accuracy.measures import Array
from stepopsd_wrappers import Episode

UNREACHABLE = -2


def progress(episode: Episode) -> list[float] | None:
    """By how much each step brought the goal nearer; None where the records do not tell.

    In commands, from optimal distances: a step that makes the goal unreachable loses the distance at the
    start and one more; after it all get 0.

    For questions, where the share of the gold passages that were seen is known: a search gets the share that
    it adds, so one after all were seen gets 0, as does one that finds no new ones, and an invalid step. An
    answer gets 1 if all gold passages were seen before it: this was the moment to stop. If not it is
    premature and gets -1, right or wrong, as the others can no longer be found.
    """
    told = [step.info.get("optimal_distance", -1) for step in episode.steps]
    if -1 not in told:
        beyond = max(told[0], 0) + 1
        return [
            0.0 if before == UNREACHABLE else float(-beyond if after == UNREACHABLE else before - after)
            for before, after in pairwise(told)
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
        returns: for every step the sum of rewards from it on, of each attempt.
        rewards: of each step itself.
    """

    group: int
    member: int
    returns: tuple[tuple[float, ...], ...]
    rewards: tuple[float, ...]

    def advantages(self, attempts: slice = slice(None)) -> np.ndarray:
        """[steps] reward and value after each step less the value before it, from these attempts alone."""
        values = np.array([np.mean(returns[attempts]) for returns in self.returns])
        after = np.append(values[1:], 0.0)
        return np.asarray(np.array(self.rewards) + after - values)


def read_values(path: Path) -> list[Values]:
    """The values beside a recording."""
    lines = path.read_text(encoding="utf-8").splitlines()
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
    """The episodes of a recording as the measures need them; all lists are one entry an episode.

    Attributes:
        tasks: group of each, the unit of the bootstrap.
        progress: of each step, in commands.
        won: whether it was.
        mixed: whether its group has won and lost episodes.
        values: its Monte-Carlo values, if it has some.
    """

    tasks: list[int]
    progress: list[Array]
    won: list[bool]
    mixed: list[bool]
    values: list[Values | None]


def judged(episodes: Sequence[Episode], values: Sequence[Values]) -> Judged:
    """The truth about episodes.

    Raises:
        ValueError: the records do not tell how far the goal is.
    """
    told = [progress(episode) for episode in episodes]
    if None in told:
        raise ValueError("the records tell no distance to the goal; record with env.oracle=true")
    outcomes: dict[int, set[bool]] = {}
    for episode in episodes:
        outcomes.setdefault(episode.group, set()).add(episode.success)
    by_name = {(one.group, one.member): one for one in values}
    return Judged(
        [episode.group for episode in episodes],
        [np.array(steps) for steps in told],
        [episode.success for episode in episodes],
        [len(outcomes[episode.group]) == 2 for episode in episodes],
        [by_name.get((episode.group, episode.member)) for episode in episodes],
    )
