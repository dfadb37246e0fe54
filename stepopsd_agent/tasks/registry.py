"""Environments by their Gymnasium id: one file each, loaded when asked for.

A new environment is registered with Gymnasium as usual, described by a `TaskSpec` in its own file, and
made known by one `register` line; outside this package the line stands in the module that ``--env.id
module:id`` imports.
"""

from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  # registers its environments with Gymnasium
from stepopsd_agent.config import EnvConfig, RunConfig
from stepopsd_agent.tasks.base import EvalSet, Lifted, TaskSpec, World
from stepopsd_envs.near_names import did_you_mean, import_named, module_hint
from stepopsd_envs.step_info import hash_number, text_hash
from stepopsd_wrappers import Episode
from stepopsd_wrappers.parse_response import ResponseFormat

_ENTRIES: dict[str, str] = {}


def register(env_id: str, entry: str) -> None:
    """Make an environment known. `entry` is "module:NAME" of its `TaskSpec`; nothing is imported before use.

    Raises:
        ValueError: the id is registered with another entry, or one of the two reads otherwise.
    """
    if not env_id or ":" in env_id:
        raise ValueError(f"env_id is {env_id!r}; give the id that gymnasium.register has, without a module")
    if _ENTRIES.get(env_id, entry) != entry:  # a file that is run and imported registers the same twice
        raise ValueError(f"environment {env_id!r} is registered already, as {_ENTRIES[env_id]}")
    module, colon, name = entry.partition(":")
    if not (module and colon and name):
        raise ValueError(f"entry is {entry!r}; it must read 'module:NAME'")
    _ENTRIES[env_id] = entry


def names() -> tuple[str, ...]:
    """Registered ids, sorted."""
    return tuple(sorted(_ENTRIES))


def get(env_id: str) -> TaskSpec:
    """The task spec of an environment.

    Args:
        env_id: its Gymnasium id; "module:id" imports the module first, as ``gymnasium.make`` does.

    Raises:
        ValueError: no such id is registered, or the module is not there.
    """
    module, colon, plain = env_id.rpartition(":")
    if colon:
        if not module:
            raise ValueError(f"env.id is {env_id!r}; before the colon stands the module to import")
        try:
            import_named(module)
        except ModuleNotFoundError as error:
            hint = module_hint(module, error.name)
            raise ValueError(
                f"env.id is {env_id!r}, but there is no module {error.name!r}: {hint}"
            ) from error
    if plain not in _ENTRIES:
        raise ValueError(
            f"env.id is {plain!r}, which is not registered: {did_you_mean(plain, _ENTRIES)}registered are "
            f"{', '.join(names())}. Make another environment known with stepopsd_agent.tasks.register, and "
            "give --env.id module:id"
        )
    try:
        spec = resolve_name(_ENTRIES[plain])
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"environment {plain!r} is registered as {_ENTRIES[plain]}, but {error}") from error
    if not isinstance(spec, TaskSpec):
        raise ValueError(f"{_ENTRIES[plain]} is {spec!r}; it must be a TaskSpec")
    return spec


def spec_of(env: gym.Env[str, str]) -> TaskSpec:
    """The task spec of the environment inside a stack.

    Raises:
        ValueError: it was made without ``gymnasium.make``, or is not registered.
    """
    spec = env.unwrapped.spec
    if spec is None:
        raise ValueError(f"{env.unwrapped} was made without gymnasium.make, so its task spec cannot be found")
    return get(spec.id)


def worlds_of(episode: Episode) -> list[World]:
    """The world after each record of an episode, as the task spec of its environment reads the texts.

    Raises:
        ValueError: the environment is not registered, or its spec gives another number of worlds.
    """
    env_id = str(episode.env_spec["id"])
    if not env_id:
        raise ValueError(
            "the record does not say what was played: it was imported, or recorded from an environment made "
            "without gymnasium.make; its credit can be computed by methods that read no worlds, such as grpo"
        )
    if env_id not in _ENTRIES:  # a record names no module: records from elsewhere must not import code
        raise ValueError(
            f"the record is of {env_id!r}, which is not registered: import the module that registers it (a "
            "command does with --env.id module:id)"
        )
    worlds: list[Any] = get(env_id).worlds(episode)
    if len(worlds) != len(episode.steps):
        raise ValueError(
            f"the task spec of {env_id!r} gives {len(worlds)} worlds for "
            f"{len(episode.steps)} records; it must give one for each, the reset included"
        )
    if wrong := [world for world in worlds if not isinstance(world, frozenset)]:
        raise ValueError(
            f"the task spec of {env_id!r} gives the world {wrong[0]!r}; a world is a "
            "frozenset of facts, each a text"
        )
    return worlds


def lifted_of(episode: Episode) -> Lifted | None:
    """An episode in the terms of its task, as its task spec tells it; None where it does not.

    Raises:
        ValueError: the spec gives another number of worlds than the episode has records.
    """
    env_id = str(episode.env_spec["id"])
    told = get(env_id).lifted(episode) if env_id in _ENTRIES else None
    if told is not None and len(told.worlds) != len(episode.steps):
        raise ValueError(
            f"the task spec of {env_id!r} tells {len(told.worlds)} worlds in the terms of a task for "
            f"{len(episode.steps)} records; it must tell one for each, the reset included"
        )
    return told


def instance_of(episode: Episode) -> str:
    """Name of the world that an episode played in: the task id where the environment is not registered."""
    env_id = str(episode.env_spec["id"])
    return str(get(env_id).instance(episode)) if env_id in _ENTRIES else episode.task_id


def unit_of(episode: Episode) -> str:
    """The word for the task of an episode: "task" where the environment is not registered."""
    env_id = str(episode.env_spec["id"])
    return get(env_id).unit if env_id in _ENTRIES else "task"


def world_keys(episode: Episode) -> list[int]:
    """A hash of the world after each record of an episode, equal where the worlds are.

    Raises:
        ValueError: as `worlds_of`.
    """
    return [world_number(world) for world in worlds_of(episode)]


def world_number(world: World) -> int:
    """A hash of a world's facts, as the columns of a batch hold it."""
    return hash_number(text_hash(repr(sorted(world))))


def evaluation_sets(config: RunConfig) -> list[EvalSet]:
    """The sets that evaluation plays: held-out tasks, where the environment's task spec has any."""
    spec = get(config.env.id)
    sets = spec.evaluation(config.env, spec.held_out_settings(config.eval.arguments))
    return [replace(evaluation, seeds=config.eval.seeds) for evaluation in sets]


def response_format(config: EnvConfig) -> ResponseFormat:
    """The format of responses, by which the action is found in them."""
    return get(config.id).plain if config.response == "plain" else config.response


def system_message(config: RunConfig) -> str:
    """The system message for chat models: that of the settings, or the environment's own."""
    return get(config.env.id).system if config.model.system is None else config.model.system


register("stepopsd/ALFWorld-v0", "stepopsd_agent.tasks.alfworld:ALFWORLD")
register("stepopsd/SearchQA-v0", "stepopsd_agent.tasks.search_qa:SEARCH_QA")
