"""Batches and episodes with another reading of the task's terms: the ablations of `lifted_controls`.

Every function gives new batches or episodes; those of the recording stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from benchmarks.credit.hand_plans import TOOL
from stepopsd_agent.batch import Batch, Episodes, Steps, Tokens, columns
from stepopsd_agent.learner import TaskHistory
from stepopsd_agent.tasks import Lifted, lifted_of, world_number, worlds_of
from stepopsd_envs.alfworld.tasks import GOAL_TEXTS, TOOLS
from stepopsd_wrappers import Episode

FORMS = tuple(GOAL_TEXTS)
WORDING = frozenset(
    word for texts in GOAL_TEXTS.values() for text in texts for word in text.removesuffix(".").split()
) | {"in", "on", "in/on"}
"""Words of the wordings of goals."""
EXCHANGES = 50
"""At most so many exchanges of goals for each group."""
Records = Sequence[Sequence[int]]
"""A number for each record of each episode of a batch, the reset being the first."""


def told_of(episodes: Sequence[Episode]) -> list[Lifted]:
    """The episodes in the terms of their tasks.

    Raises:
        ValueError: one cannot be told so.
    """
    told = [lifted_of(episode) for episode in episodes]
    for one, episode in zip(told, episodes, strict=True):
        if one is None or one.form not in FORMS:
            raise ValueError(
                f"{episode.task_id!r} cannot be told in the terms of a household task; give recordings "
                "of ALFWorld"
            )
    return [one for one in told if one is not None]


def only_texts(episode: Episode) -> Episode:
    """The record with what its agent was shown and did, and nothing else.

    Goal and acceptance are read from the texts, everything that the simulator reports beside them is gone.
    """
    goal = episode.steps[0].observation.rpartition("Your task is to: ")[2]
    steps = [
        replace(
            step,
            reward=0.0,
            tokens=None,
            info={
                "goal": goal if step is episode.steps[0] else "",
                "step": {"valid": step.observation.strip() != "Nothing happens."},
            },
        )
        for step in episode.steps
    ]
    return replace(
        episode, task_id="", seed=0, env_spec={**episode.env_spec, "kwargs": {}}, steps=tuple(steps)
    )


def told_otherwise(parts: Sequence[Sequence[Episode]], told: Sequence[Sequence[Lifted]]) -> int:
    """Episodes whose terms would be others if the record had the texts alone; 0 if no term needs more."""
    episodes = (episode for part in parts for episode in part)
    terms = (one for part in told for one in part)
    return sum(lifted_of(only_texts(one)) != term for one, term in zip(episodes, terms, strict=True))


def without_sight(told: Lifted) -> Lifted:
    """The episode without what is in sight."""
    kept = [frozenset(fact for fact in world if " in sight: " not in fact) for world in told.worlds]
    return replace(told, worlds=kept)


def with_tool(told: Lifted, episode: Episode) -> Lifted:
    """With the fact `TOOL` where the agent stands at the receptacle that treats the object of the task.

    No text says which receptacle that is: it is knowledge of the game.
    """
    if told.form not in TOOLS:
        return told
    place = f"at: {TOOLS[told.form].receptacle.lower()} "
    worlds = zip(told.worlds, worlds_of(episode), strict=True)
    there = [one | {TOOL} if any(fact.startswith(place) for fact in full) else one for one, full in worlds]
    return replace(told, worlds=there)


def with_other_goals(episodes: Sequence[Episode], seed: int) -> list[Episode]:
    """The episodes as if each group had been told the goal of another, drawn at random.

    The goals are exchanged until none is of the form of the group's own or names a thing that its own names,
    as far as the goals of the recording allow: such a goal would tell of the group's own task.
    """
    own = dict[int, Episode]()
    for episode in episodes:
        own.setdefault(episode.group, episode)
    groups, rng = list(own), np.random.default_rng(seed)
    forms = {group: one.form for group, one in zip(own, told_of(list(own.values())), strict=True)}
    goals = {group: str(episode.steps[0].info["goal"]) for group, episode in own.items()}

    def alike(one: int, other: int) -> bool:
        return forms[one] == forms[other] or bool(_things(goals[one]) & _things(goals[other]))

    drawn = rng.permutation(groups).tolist()
    for _ in range(EXCHANGES * len(groups)):
        wrong = [place for place, pair in enumerate(zip(groups, drawn, strict=True)) if alike(*pair)]
        if not wrong:
            break
        one, other = int(rng.choice(wrong)), int(rng.integers(len(groups)))
        now = alike(groups[one], drawn[one]) + alike(groups[other], drawn[other])
        then = alike(groups[one], drawn[other]) + alike(groups[other], drawn[one])
        if then <= now:
            drawn[one], drawn[other] = drawn[other], drawn[one]
    told = {group: goals[one] for group, one in zip(groups, drawn, strict=True)}
    return [_with_goal(episode, told[episode.group]) for episode in episodes]


def _things(goal: str) -> set[str]:
    """The words of a goal that no wording has: the kinds of things that it names."""
    return set(goal.strip().removesuffix(".").split()) - WORDING


def _with_goal(episode: Episode, goal: str) -> Episode:
    first = replace(episode.steps[0], info={**episode.steps[0].info, "goal": goal})
    return replace(episode, steps=(first, *episode.steps[1:]))


def learned(
    parts: Sequence[Sequence[Episode]],
    told: Sequence[Sequence[Lifted]],
    past: bool = True,
    order: Sequence[int] | None = None,
) -> list[Records]:
    """The distances that `path_gain` with `lifted` reads, by batch.

    Args:
        parts: the episodes of each batch.
        told: the same in the terms of their tasks.
        past: know the batches before, as in training.
        order: in which the batches were played; that of `parts` when absent.
    """
    plans, found = TaskHistory({"lifted_distance"}).plans, dict[int, Records]()
    for number in range(len(parts)) if order is None else order:
        pairs = zip(told[number], parts[number], strict=True)
        attempts = [(one, episode.success) for one, episode in pairs]
        found[number] = plans.distances(attempts)
        if past:
            plans.add(attempts)
    return [found[number] for number in range(len(parts))]


def around(batch: Batch, records: Records) -> tuple[Tensor, Tensor]:
    """[S] the number before and after every step."""
    owners, places = batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist()
    before = [records[episode][index - 1] for episode, index in zip(owners, places, strict=True)]
    after = [records[episode][index] for episode, index in zip(owners, places, strict=True)]
    return torch.tensor(before, dtype=torch.int64), torch.tensor(after, dtype=torch.int64)


def with_distances(batch: Batch, records: Records) -> Batch:
    """The batch with these distances to a goal in place of the learned ones; below 0: no path is known."""
    before, after = around(batch, records)
    return batch.with_columns(lifted_distance=before, next_lifted_distance=after)


def with_keys(batch: Batch, told: Sequence[Lifted]) -> Batch:
    """The batch with the lifted world in the columns of the key "text"."""
    before, after = around(batch, [[world_number(world) for world in one.worlds] for one in told])
    return batch.with_columns(text_key=before, next_text_key=after)


def by_form(batch: Batch, told: Sequence[Lifted]) -> Batch:
    """The batch with all tasks of a form as one group."""
    group = torch.tensor([FORMS.index(one.form) for one in told], dtype=torch.int64)
    return replace(batch, episodes=replace(batch.episodes, group_of_episode=group))


def without_goals(batch: Batch) -> Batch:
    """The batch as if no attempt had succeeded: the group's own graph of `path_gain` has no value.

    Its advantage over episodes reads returns, which stay.
    """
    lost = torch.zeros_like(batch.episodes.success)
    return replace(batch, episodes=replace(batch.episodes, success=lost))


def joined(batches: Sequence[Batch]) -> Batch:
    """All steps and episodes as one batch of one token a step; equal numbers of groups are one group.

    What compares steps reads no tokens, so a step's credit is the same as with all of its own.
    """
    sizes = [batch.num_episodes for batch in batches]
    owners = [
        batch.steps.episode_of_step + offset
        for batch, offset in zip(batches, accumulate(sizes, initial=0), strict=False)
    ]
    steps = {
        name: torch.cat([getattr(one.steps, name) for one in batches]) for name in _common(batches, "steps")
    }
    episodes = {
        name: torch.cat([getattr(one.episodes, name) for one in batches])
        for name in _common(batches, "episodes")
    }
    steps["episode_of_step"] = torch.cat(owners)
    count = len(steps["episode_of_step"])
    row = torch.arange(count)[:, None]
    whole = torch.zeros_like(row)
    tokens = Tokens(whole, torch.ones_like(row, dtype=torch.bool), whole, row, torch.zeros(count, 1))
    return Batch(tokens, Steps(**steps), Episodes(**episodes))


def _common(batches: Sequence[Batch], table: str) -> list[str]:
    """The columns of a table that all batches have."""
    names = [{name for name, _ in columns(getattr(batch, table))} for batch in batches]
    return sorted(set.intersection(*names))
