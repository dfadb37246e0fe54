"""Evaluation on fixed lists of tasks, which can be resumed."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

import gymnasium as gym

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.backends import Backend
from stepopsd_agent.rollout.language_model import rollout
from stepopsd_agent.rollout.playing import Attempt, BatchAgent, OnEpisode, play
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_agent.tasks import EvalSet, data_identity, evaluation_sets, make_stack, task_ids
from stepopsd_wrappers import Episode, env_spec, recorder

EVAL_SEED = 1_000_000
Envs = Sequence[gym.Env[str, str]]


class OtherDataError(ValueError):
    """An evaluation cannot be resumed, because data or engine differ; the message names both."""


def evaluate_policy(
    policy: Policy,
    config: RunConfig,
    *,
    on_episode: OnEpisode | None = None,
    backend: Backend = rollout,
) -> list[Episode]:
    """Play the evaluation tasks once each with the language model.

    The tasks are those of each set in ``eval`` (held-out ones where they are generated), see `chosen_tasks`:
    the same for every policy and seed; the sampling noise is the same too.
    """
    return [
        episode
        for evaluation in evaluation_sets(config)
        for episode in play_set(policy, config, evaluation, EVAL_SEED, on_episode, backend)
    ]


def play_set(
    policy: Policy,
    config: RunConfig,
    tasks: EvalSet,
    seed: int,
    on_episode: OnEpisode | None = None,
    backend: Backend = rollout,
    before: Sequence[Episode] = (),
) -> list[Episode]:
    """Play a set with the language model, at ``eval.temperature``.

    Args:
        policy: the acting model.
        config: sampling settings.
        tasks: the set.
        seed: of the first episode and of the sampling noise; the k-th episode uses seed + k.
        on_episode: called with each record as it finishes.
        backend: plays the attempts.
        before: records of an interrupted evaluation; their tasks are not played again.
    """
    with ExitStack() as opened:
        envs = [opened.enter_context(closing(make_stack(tasks.env)))]
        count = len(chosen_tasks(tasks, task_ids(envs[0]))) * tasks.seeds
        for _ in range(min(config.rollout.slots, count) - 1):
            envs.append(opened.enter_context(closing(make_stack(tasks.env))))
        params = sampling_params(config)

        def played(attempts: Sequence[Attempt]) -> list[Episode]:
            return backend(policy, envs, attempts, params, seed=f"play {seed}", on_episode=on_episode)

        return _with_those_before(tasks, envs, seed, before, played)


def play_set_with(
    agent: BatchAgent,
    envs: Envs,
    tasks: EvalSet,
    seed: int,
    on_episode: OnEpisode | None = None,
    before: Sequence[Episode] = (),
) -> list[Episode]:
    """Play a set with any agent; arguments as of `play` and `play_set`."""
    return _with_those_before(
        tasks, envs, seed, before, lambda attempts: play(agent, envs, attempts, on_episode=on_episode)
    )


def sampling_params(config: RunConfig) -> SamplingParams:
    """Return the sampling parameters of evaluation."""
    return SamplingParams(
        temperature=config.eval.temperature,
        max_tokens=config.rollout.max_tokens,
        max_row_tokens=config.rollout.max_row_tokens,
        stop=tuple(config.rollout.stop),
    )


def _with_those_before(
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
