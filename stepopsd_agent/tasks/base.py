"""What the learner is told about an environment; everything else it reads in ``info``, like any agent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from stepopsd_agent.config.environment import EnvConfig, EvalConfig
from stepopsd_agent.models.tiny_tokenizer import FindNames
from stepopsd_agent.tasks.agents import Agent
from stepopsd_agent.tasks.agents.expert import MakeExpert
from stepopsd_wrappers.parse_response import ResponseFormat

SHARED = frozenset({"id", "layout", "history", "response"})
"""Settings of ``EnvConfig`` that are not the environment's own: how it is shown."""
SHARED_EVAL = frozenset({"task_types", "every", "temperature"})
"""The same of ``EvalConfig``."""


@dataclass(frozen=True)
class EvalSet:
    """Tasks that are evaluated, and counted, together.

    Attributes:
        name: of the set, for tables.
        env: the environment that plays it.
        count: episodes to play; None plays every task once.
        again: begin again where there are fewer tasks than that; else play each of them once.
    """

    name: str
    env: EnvConfig
    count: int | None
    again: bool = True


@dataclass(frozen=True)
class Environment:
    """How one environment is set up, demonstrated and measured.

    Attributes:
        name: gymnasium id without the version.
        settings: fields of ``EnvConfig`` it has, beside ``SHARED``.
        eval_settings: fields of ``EvalConfig`` it has, beside ``SHARED_EVAL``.
        arguments: of ``gym.make``, for agents that read observations.
        prompted: further arguments where prompts are made of the observations.
        evaluation: what is evaluated, given the settings of training and those of evaluation.
        expert: for an environment, the experts that can play it.
        agents: agents by the name that ``--agent`` takes, for an environment.
        plain: format of responses that are handed on as they are.
        system: message for chat models, unless the settings have one.
        names: what a tokenizer learned from these texts keeps in pieces of their own.
        unit: what one task is called.
        limit: the setting that bounds an episode.
        measures: keys of ``info`` whose values at the end of an episode are averaged beside success.
    """

    name: str
    settings: frozenset[str]
    eval_settings: frozenset[str]
    arguments: Callable[[EnvConfig], dict[str, Any]]
    prompted: Callable[[EnvConfig], dict[str, Any]]
    evaluation: Callable[[EnvConfig, EvalConfig], list[EvalSet]]
    expert: Callable[[gym.Env[str, str]], MakeExpert]
    agents: Mapping[str, Callable[[gym.Env[str, str]], Agent]]
    plain: ResponseFormat
    system: str
    names: FindNames
    unit: str
    limit: str
    measures: tuple[str, ...] = ()
