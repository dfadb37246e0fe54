"""Environments to train on: what each must bring, the registry, and the agents that play them."""

from stepopsd_agent.tasks.base import EvalSet, HeldOut, TaskSpec
from stepopsd_agent.tasks.make import data_identity, make_plain_env, make_stack, task_ids
from stepopsd_agent.tasks.registry import (
    evaluation_sets,
    evaluation_total,
    get,
    names,
    register,
    response_format,
    spec_of,
    system_message,
)
from stepopsd_agent.tasks.settings import constructor_settings, env_arguments, env_section, eval_section

__all__ = [
    "EvalSet",
    "HeldOut",
    "TaskSpec",
    "constructor_settings",
    "data_identity",
    "env_arguments",
    "env_section",
    "eval_section",
    "evaluation_sets",
    "evaluation_total",
    "get",
    "make_plain_env",
    "make_stack",
    "names",
    "register",
    "response_format",
    "spec_of",
    "system_message",
    "task_ids",
]
