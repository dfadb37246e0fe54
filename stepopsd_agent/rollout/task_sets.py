"""Sets of tasks played by any agent: which tasks, which attempts at them, and those that were played before.

Nothing here knows of models, so that agents without one play without loading what those need.
"""

import json
from collections.abc import Callable, Sequence

import gymnasium as gym

from stepopsd_agent.rollout.playing import Attempt, BatchAgent, OnEpisode, play
from stepopsd_agent.tasks import EvalSet, data_identity, task_ids
from stepopsd_wrappers import Episode, env_spec, recorder

EVAL_SEED = 1_000_000
Envs = Sequence[gym.Env[str, str]]


class OtherDataError(ValueError):
    """An evaluation cannot be resumed, because data or engine differ; the message names both."""


def play_set_with(
    agent: BatchAgent,
    envs: Envs,
    tasks: EvalSet,
    seed: int,
    on_episode: OnEpisode | None = None,
    before: Sequence[Episode] = (),
) -> list[Episode]:
    """Play a set with any agent; arguments as of `play` and `evaluation.play_set`."""
    return with_those_before(
        tasks, envs, seed, before, lambda attempts: play(agent, envs, attempts, on_episode=on_episode)
    )


def with_those_before(
    tasks: EvalSet,
    envs: Envs,
    seed: int,
    before: Sequence[Episode],
    played: Callable[[Sequence[Attempt]], list[Episode]],
) -> list[Episode]:
    """Play the tasks that `before` lacks or has with an error; return the records of the whole set in order.

    Raises:
        OtherDataError: `before` was played on other data, or by another engine.
    """
    ids = task_ids(envs[0])
    attempts = _attempts(chosen_tasks(tasks, ids), len(ids), tasks.seeds, seed)
    spec, data = _text(env_spec(recorder(envs[0]).env)), data_identity(envs[0])
    done = {
        (episode.group, episode.task_id, episode.seed): episode
        for episode in before
        if not episode.failed and _text(episode.env_spec) == spec
    }
    for episode in done.values():
        if {"fingerprint": episode.fingerprint, "engine_version": episode.engine_version} != data:
            raise OtherDataError(
                f"the recorded episodes were played on data {episode.fingerprint} with engine "
                f"{episode.engine_version!r}, but here they are {data['fingerprint']} and "
                f"{data['engine_version']!r}: begin a new evaluation, or resume with the same data"
            )
    keys = [(attempt.group, attempt.task_id, attempt.seed) for attempt in attempts]
    missing = [attempt for attempt, key in zip(attempts, keys, strict=True) if key not in done]
    now = iter(played(missing))
    return [done[key] if key in done else next(now) for key in keys]


def _attempts(chosen: Sequence[str], tasks: int, seeds: int, seed: int) -> list[Attempt]:
    """The attempts at the chosen tasks, all with one sampling seed before any with the next.

    The noise of a token depends on task and member, so each attempt at a task is another member.
    """
    again = -(-len(chosen) // tasks)  # attempts at a task with one sampling seed
    return [
        Attempt(
            task_id,
            seed=seed + k,
            group=k,
            member=k // len(chosen) * again + k % len(chosen) // tasks,
        )
        for k, task_id in enumerate([*chosen] * seeds)
    ]


def _text(spec: object) -> str:
    return json.dumps(spec, sort_keys=True)


def chosen_tasks(tasks: EvalSet, ids: Sequence[str]) -> list[str]:
    """Choose the tasks of a set that are played, from all its ids.

    Raises:
        ValueError: the set has fewer tasks than were asked for.
    """
    if tasks.count is None or (not tasks.again and tasks.count > len(ids)):
        return list(ids)
    if tasks.select is not None:
        return tasks.select(ids, tasks.count)
    return first_tasks(ids, tasks.count)


def first_tasks(ids: Sequence[str], count: int) -> list[str]:
    """Return the first `count` ids, cycling through the list where it is shorter."""
    return [ids[k % len(ids)] for k in range(count)]
