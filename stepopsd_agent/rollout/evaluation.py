"""Evaluation on fixed lists of tasks."""

from collections.abc import Sequence
from contextlib import ExitStack, closing

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.language_model import Backend, rollout
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_agent.tasks import EvalSet, evaluation_sets, make_stack, task_ids
from stepopsd_wrappers import Episode

EVAL_SEED = 1_000_000


def evaluate_policy(
    policy: Policy,
    config: RunConfig,
    *,
    on_episode: OnEpisode | None = None,
    backend: Backend = rollout,
) -> list[Episode]:
    """Play the evaluation tasks once each with the language model.

    The tasks are the first of the canonical list of each set in ``eval`` (held-out ones where they are
    generated), the same for every policy and seed; the sampling noise is the same too.
    """
    return [
        episode
        for one in evaluation_sets(config)
        for episode in play_set(policy, config, one, EVAL_SEED, on_episode, backend)
    ]


def play_set(
    policy: Policy,
    config: RunConfig,
    tasks: EvalSet,
    seed: int,
    on_episode: OnEpisode | None = None,
    backend: Backend = rollout,
) -> list[Episode]:
    """Play a set with the language model, at ``eval.temperature``.

    Args:
        policy: the acting model.
        config: sampling settings.
        tasks: the set.
        seed: of the first episode and of the sampling noise; the k-th episode uses seed + k.
        on_episode: called with each record as it finishes.
        backend: plays the attempts.
    """
    with ExitStack() as opened:
        envs = [opened.enter_context(closing(make_stack(tasks.env)))]
        ids = task_ids(envs[0])
        chosen = chosen_tasks(tasks, ids)
        for _ in range(min(config.rollout.slots, len(chosen)) - 1):
            envs.append(opened.enter_context(closing(make_stack(tasks.env))))
        params = SamplingParams(
            temperature=config.eval.temperature,
            max_tokens=config.rollout.max_tokens,
            max_row_tokens=config.rollout.max_row_tokens,
            stop=tuple(config.rollout.stop),
        )
        attempts = [
            Attempt(task_id, seed=seed + k, group=k, member=k // len(ids)) for k, task_id in enumerate(chosen)
        ]
        return backend(policy, envs, attempts, params, seed=f"play {seed}", on_episode=on_episode)


def chosen_tasks(tasks: EvalSet, ids: Sequence[str]) -> list[str]:
    """The tasks of a set that are played, of all its ids."""
    if tasks.count is None or (not tasks.again and tasks.count > len(ids)):
        return list(ids)
    return first_tasks(ids, tasks.count)


def first_tasks(ids: Sequence[str], count: int) -> list[str]:
    """The first ids; the list begins again where it is too short."""
    return [ids[k % len(ids)] for k in range(count)]
