"""From an ``EnvConfig`` to playable stacks and lists of tasks."""

from typing import Any

import gymnasium as gym
import numpy as np

from stepopsd_agent.config.run import EnvConfig
from stepopsd_agent.rollout.rollout import Task
from stepopsd_agent.tasks.registry import environment, response_format
from stepopsd_wrappers import RecordEpisode, make_text_env


def env_arguments(config: EnvConfig) -> dict[str, Any]:
    """Arguments of ``gym.make``."""
    return environment(config.id).arguments(config)


def make_stack(config: EnvConfig) -> gym.Env[str, str]:
    """One recorded environment as a language model sees it."""
    arguments = {**environment(config.id).prompted(config), **env_arguments(config)}
    env = gym.make(config.id, disable_env_checker=True, **arguments)
    return make_text_env(env, format=response_format(config), layout=config.layout, steps=config.history)


def make_plain_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[str, str]:
    """One recorded environment without prompts, for agents that read observations and give commands."""
    arguments = env_arguments(config)
    return RecordEpisode(gym.make(config.id, disable_env_checker=True, render_mode=render_mode, **arguments))


def task_ids(env: gym.Env[str, str]) -> tuple[str, ...]:
    """Canonical ids of the tasks behind a stack."""
    return tuple(env.get_wrapper_attr("task_ids"))


def data_facts(env: gym.Env[str, str]) -> dict[str, str]:
    """What an environment plays, and on what: equal facts, equal games and answers."""
    return {name: str(env.get_wrapper_attr(name)) for name in ("fingerprint", "engine_version")}


def training_tasks(ids: tuple[str, ...], seed: int, update: int, tasks: int, group_size: int) -> list[Task]:
    """The groups of one update: each a game ``group_size`` times, in an order drawn anew for every pass."""
    first = update * tasks
    chosen = [_at(ids, seed, first + k) for k in range(tasks)]
    return [
        Task(
            task_id,
            seed=int(np.random.default_rng([seed, update, group]).integers(2**31)),
            group=group,
            member=member,
        )
        for group, task_id in enumerate(chosen)
        for member in range(group_size)
    ]


def _at(ids: tuple[str, ...], seed: int, position: int) -> str:
    """The position-th game of an endless sequence of seeded permutations."""
    epoch, place = divmod(position, len(ids))
    return ids[int(np.random.default_rng([seed, epoch]).permutation(len(ids))[place])]
