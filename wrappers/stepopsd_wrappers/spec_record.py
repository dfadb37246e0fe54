"""How the environment of an episode is made again, as plain data."""

import os
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit

from stepopsd_wrappers.parse_response import find_wrapper
from stepopsd_wrappers.plain_json import EpisodeFormatError, plain_copy


def env_spec(env: gym.Env[str, str]) -> dict[str, Any]:
    """Return the `id` and `kwargs` with which `gymnasium.make` makes `env` again, without its render mode.

    Both are empty for an environment that was made without `gymnasium.make`.

    Raises:
        EpisodeFormatError: an argument is not of a JSON type.
    """
    return spec_record(env.spec, find_wrapper(env, TimeLimit) is not None)


def spec_record(spec: EnvSpec | None, time_limit: bool) -> dict[str, Any]:
    """Return the `id` and `kwargs` with which `gymnasium.make` makes an environment, without its render mode.

    Both are empty for an environment that was made without `gymnasium.make`.

    Args:
        spec: of the environment.
        time_limit: whether the wrapper `TimeLimit` ends its episodes, and not the environment itself.

    Raises:
        EpisodeFormatError: an argument is not of a JSON type.
    """
    if spec is None:
        return {"id": "", "kwargs": {}}
    kwargs = {name: _as_json(value) for name, value in spec.kwargs.items() if name != "render_mode"}
    if time_limit:
        kwargs["max_episode_steps"] = spec.max_episode_steps
    try:
        return {"id": spec.id, "kwargs": plain_copy(kwargs, "env_spec.kwargs")}
    except EpisodeFormatError as error:
        raise EpisodeFormatError(
            f"{error}; or give gym.make what names it: a retriever of your own can be served, see "
            "docs/retrieval.md, and named by its address"
        ) from error


def _as_json(value: object) -> object:
    """Return paths as strings and tuples as lists; environments accept both."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
