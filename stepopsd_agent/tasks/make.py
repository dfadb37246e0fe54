"""From an `EnvConfig` to environments that can be played."""

from collections.abc import Sequence
from contextlib import closing

import gymnasium as gym

from stepopsd_agent.config import EnvConfig, RunConfig
from stepopsd_agent.tasks.base import EvalSet
from stepopsd_agent.tasks.registry import evaluation_sets, get, response_format
from stepopsd_agent.tasks.settings import env_arguments
from stepopsd_wrappers import RecordEpisode, make_text_env


def make_stack(config: EnvConfig) -> gym.Env[str, str]:
    """One recorded environment as a language model sees it: prompts come out, responses go in."""
    arguments = {**get(config.id).prompted(config), **env_arguments(config)}
    env = gym.make(config.id, disable_env_checker=True, **arguments)
    return make_text_env(env, format=response_format(config), layout=config.layout, steps=config.history)


def make_plain_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[str, str]:
    """One recorded environment without prompts, for agents that read observations and give commands."""
    arguments = env_arguments(config)
    return RecordEpisode(gym.make(config.id, disable_env_checker=True, render_mode=render_mode, **arguments))


def task_ids(env: gym.Env[str, str]) -> tuple[str, ...]:
    """Canonical ids of the tasks of an environment, wrapped or not.

    Raises:
        ValueError: it is no environment with tasks, or has none.
    """
    try:
        ids = tuple(env.get_wrapper_attr("task_ids"))
    except AttributeError as error:
        raise ValueError(
            f"{env!r:.120} has no task_ids; give one environment whose tasks have names, see "
            "stepopsd_envs.testing.check_text_env"
        ) from error
    if not ids:
        raise ValueError(f"{env!r:.120} has no tasks: its task_ids are empty")
    return ids


def data_identity(env: gym.Env[str, str]) -> dict[str, str]:
    """Fingerprint of an environment's tasks and version of its engine: equal ones play alike."""
    return {name: str(env.get_wrapper_attr(name)) for name in ("fingerprint", "engine_version")}


def evaluation_total(config: RunConfig) -> int:
    """Episodes of an evaluation, see `episodes_of`."""
    return sum(map(episodes_of, evaluation_sets(config)))


def side_by_side(sets: Sequence[EvalSet], slots: int) -> int:
    """Episodes that are played at once at most, of sets that are played one after the other."""
    return min(slots, max(map(episodes_of, sets)))


def episodes_of(tasks: EvalSet) -> int:
    """Episodes that are played of a set; what its count leaves open is read off the environment."""
    if tasks.total is not None and tasks.again:
        return tasks.total
    with closing(make_plain_env(tasks.env)) as env:
        there = len(task_ids(env))
    return tasks.seeds * (there if tasks.count is None else min(tasks.count, there))
