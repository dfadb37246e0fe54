"""The environments the learner knows. A new one is a file beside this one, and a line here."""

from dataclasses import fields
from typing import Any

import gymnasium as gym

from stepopsd_agent.config.environment import EnvConfig
from stepopsd_agent.config.run import RunConfig
from stepopsd_agent.tasks.alfworld import ALFWORLD
from stepopsd_agent.tasks.base import SHARED, SHARED_EVAL, Environment, EvalSet
from stepopsd_agent.tasks.search_qa import SEARCH_QA
from stepopsd_wrappers.parse_response import ResponseFormat

__all__ = [
    "Environment",
    "EvalSet",
    "environment",
    "environment_of",
    "evaluation_sets",
    "evaluation_total",
    "foreign_setting",
    "response_format",
]

_KNOWN = {one.name: one for one in (ALFWORLD, SEARCH_QA)}


def environment(env_id: str) -> Environment:
    """The environment of a gymnasium id, with or without version.

    One that is not known here is set up as ALFWorld is: its own id is enough for a variant with the same
    arguments.
    """
    return _KNOWN.get(env_id.partition("-v")[0], ALFWORLD)


def environment_of(env: gym.Env[str, str]) -> Environment:
    """The environment inside a stack."""
    spec = env.unwrapped.spec
    return environment("" if spec is None else spec.id)


def evaluation_sets(config: RunConfig) -> list[EvalSet]:
    """What is evaluated: the training environment on other tasks."""
    return environment(config.env.id).evaluation(config.env, config.eval)


def evaluation_total(config: RunConfig) -> int | None:
    """Episodes of an evaluation at most; None where that is known only once the tasks are read."""
    counts = [one.count for one in evaluation_sets(config)]
    return None if None in counts else sum(count or 0 for count in counts)


def foreign_setting(config: RunConfig) -> str | None:
    """Say which setting was given that the environment does not have, and which it has; None if all fit."""
    own = environment(config.env.id)
    for name, section, known in (
        ("env", config.env, own.settings | SHARED),
        ("eval", config.eval, own.eval_settings | SHARED_EVAL),
    ):
        default: Any = type(section)()
        for field in fields(section):
            value = vars(section)[field.name]
            if field.name not in known and value != vars(default)[field.name]:
                has = ", ".join(f"{name}.{one}" for one in sorted(known))
                return f"{name}.{field.name} is {value!r}, a setting that {config.env.id} lacks; it has {has}"
    return None


def response_format(config: EnvConfig) -> ResponseFormat:
    """The form of responses, by which the action is found in them."""
    return environment(config.id).plain if config.response == "plain" else config.response
