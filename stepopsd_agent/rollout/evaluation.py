"""Evaluation of a model on fixed lists of tasks, which can be resumed."""

from collections.abc import Sequence
from contextlib import ExitStack, closing

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.backends import Backend
from stepopsd_agent.rollout.language_model import rollout
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_agent.rollout.task_sets import EVAL_SEED, chosen_tasks, with_those_before
from stepopsd_agent.tasks import EvalSet, evaluation_sets, make_stack, task_ids
from stepopsd_wrappers import Episode


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

        return with_those_before(tasks, envs, seed, before, played)


def sampling_params(config: RunConfig) -> SamplingParams:
    """Return the sampling parameters of evaluation."""
    return SamplingParams(
        temperature=config.eval.temperature,
        max_tokens=config.rollout.max_tokens,
        max_row_tokens=config.rollout.max_row_tokens,
        stop=tuple(config.rollout.stop),
    )
