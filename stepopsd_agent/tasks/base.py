"""The description of an environment that the learner needs beside the ``info`` that every agent reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any

import gymnasium as gym

from stepopsd_agent.config import EnvConfig, EvalConfig, at_least
from stepopsd_agent.models import FindNames, numbered
from stepopsd_agent.tasks.agents import ExpertAgent, MakeAgent, RandomAgent
from stepopsd_agent.tasks.agents.expert import MakeExpert
from stepopsd_wrappers import Episode
from stepopsd_wrappers.parse_response import ResponseFormat


@dataclass(frozen=True)
class EvalSet:
    """Tasks that are evaluated, and counted, together.

    Attributes:
        name: of the set, for tables; empty where nothing is evaluated and ``env`` alone says what is played.
        env: the environment that plays it.
        count: episodes to play; None plays every task once.
        again: begin again where there are fewer tasks than that; otherwise play each of them once.
        select: chooses that many of all task ids, or raises a ValueError; None takes the first.
        seeds: attempts at every one of them, each with sampling noise of its own.
    """

    name: str
    env: EnvConfig
    count: int | None
    again: bool = True
    select: Callable[[Sequence[str], int], list[str]] | None = None
    seeds: int = 1

    @property
    def total(self) -> int | None:
        """Episodes at most; None where that is known only once the tasks are read."""
        return None if self.count is None else self.count * self.seeds


@dataclass(frozen=True)
class HeldOut:
    """Tasks to evaluate of an environment that holds none out: the first it trains on, see `first_tasks`.

    Attributes:
        episodes: tasks per evaluation; the list begins again where it is shorter.
    """

    episodes: int = at_least(1, 100)


World = frozenset[str]
"""Facts that an agent which read every text so far knows; equal worlds are one place in a graph of states.

A fact "thing: value" gives the value of something that has one at a time, such as "at: shelf 1". Left out is
what is as it was at first, so that a world with further facts is one where more was done.
"""


def observed_worlds(episode: Episode) -> list[World]:
    """The worlds of an environment of which nothing more is known: the last observation is all there is."""
    return [frozenset({step.observation}) for step in episode.steps]


@dataclass(frozen=True)
class Lifted:
    """An episode told in the terms of its task, so that it can be compared with attempts at other tasks.

    Attributes:
        form: of the task; tasks of one form differ in the things that they name alone.
        worlds: after each record, the reset being the first; facts about what the task names, by its role.
    """

    form: str
    worlds: Sequence[World]


Evaluation = Callable[[EnvConfig, Any], list[EvalSet]]
"""From the environment of training and the held-out settings to the sets to evaluate."""


def first_tasks(env: EnvConfig, held_out: HeldOut) -> list[EvalSet]:
    """One set of the first tasks of training: they are not held out, and success on them may be memory."""
    return [EvalSet("tasks", env, held_out.episodes)]


@dataclass(frozen=True)
class TaskSpec:
    """How one environment is shown, demonstrated and measured. Every field has a default.

    Attributes:
        held_out: the settings of evaluation, a frozen dataclass whose fields become ``eval.*``.
        evaluation: the sets to evaluate, from the environment of training and a ``held_out``; the default
            holds no tasks out, and plays the first of training.
        prompted: constructor arguments that the layout of prompts decides.
        fixed: names of constructor arguments that are no settings of a run.
        agents: agents by the name that ``--agent`` takes, each made for an environment; "expert" is made of
            ``expert`` unless it stands here.
        expert: makes the experts that demonstrate in an environment; None where there is none.
        plain: format of responses that are handed on as they are.
        system: system message for chat models, unless the settings have one.
        names: finds the names that a tokenizer learned from these texts keeps as single pieces.
        unit: the word for one task.
        limit: the setting that bounds an episode.
        worlds: the world after each record of an episode, the reset being the first, read from nothing but
            the texts and whether the environment accepted an action.
        lifted: tells an episode in the terms of its task, see `Lifted`, from the same texts as ``worlds``;
            None where that cannot be done.
        instance: names the world of an episode, which is the same wherever names are equal, in whatever
            update; the task id, unless the environment changes with the seed.
        measures: keys of ``info`` whose values at the end of an episode are averaged beside success.
    """

    held_out: type = HeldOut
    evaluation: Evaluation = first_tasks
    prompted: Callable[[EnvConfig], dict[str, Any]] = lambda env: {}
    fixed: frozenset[str] = frozenset({"render_mode"})
    agents: Mapping[str, MakeAgent] = field(default_factory=lambda: {"random": lambda env: RandomAgent()})
    expert: Callable[[gym.Env[str, str]], MakeExpert] | None = None
    plain: ResponseFormat = "plain"
    system: str = ""
    names: FindNames = numbered
    unit: str = "task"
    limit: str = "env.step_limit"
    worlds: Callable[[Episode], list[World]] = observed_worlds
    lifted: Callable[[Episode], Lifted | None] = lambda episode: None
    instance: Callable[[Episode], str] = lambda episode: episode.task_id
    measures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings of evaluation that cannot become flags.

        Raises:
            ValueError: ``held_out`` is no dataclass, a field has no default, or has the name of another; or
                ``measures`` are no tuple of texts, or something else that is called is no function.
        """
        measures: Any = self.measures  # whoever writes a task spec may give anything
        if not isinstance(measures, tuple) or not all(isinstance(key, str) for key in measures):
            raise ValueError(
                f"measures is {measures!r}; it must be a tuple of keys of info, such as ('score',)"
            )
        for name in ("evaluation", "prompted", "names", "worlds", "lifted", "instance"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a function (see TaskSpec)")
        if not is_dataclass(self.held_out):
            raise ValueError(f"held_out is {self.held_out!r}; it must be a dataclass")
        taken = {spec.name for spec in fields(EvalConfig)}
        for spec in fields(self.held_out):
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise ValueError(f"{self.held_out.__name__}.{spec.name} has no default; give it one")
            if spec.name in taken:
                raise ValueError(
                    f"{self.held_out.__name__}.{spec.name} has the name of a setting of every environment; "
                    "rename it"
                )

    @property
    def players(self) -> Mapping[str, MakeAgent]:
        """All agents by name: ``agents``, and the expert."""
        make = self.expert
        if make is None or "expert" in self.agents:
            return self.agents
        return {**self.agents, "expert": lambda env: ExpertAgent(make=make(env))}

    @property
    def evaluated(self) -> str:
        """The word for tasks of an evaluation; ``evaluation`` has to choose them for them to be held out."""
        return f"{'training' if self.evaluation is first_tasks else 'held-out'} {self.unit}s"

    def held_out_settings(self, arguments: Mapping[str, Any]) -> Any:
        """The ``held_out`` dataclass with these values.

        Raises:
            ValueError: it has no such field.
        """
        known = asdict(self.held_out())
        if unknown := sorted(set(arguments) - set(known)):
            has, value = ", ".join(f"eval.{name}" for name in known), arguments[unknown[0]]
            raise ValueError(
                f"eval.{unknown[0]} is {value!r}, a setting that the environment lacks; it has {has}"
            )
        return self.held_out(**arguments)
