"""Agents from outside the package, by the "module:Class" that ``--agent`` takes."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium as gym

from stepopsd_agent.tasks.agents.base import Agent, MakeAgent
from stepopsd_envs.near_names import did_you_mean, module_hint
from stepopsd_wrappers.running_episode import error_words

_METHODS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "reset": ("reset(seed, observation, info)", (0, "", {})),
    "act": ("act(observation, info)", ("", {})),
}
"""How each method is called, and arguments to try its signature with."""


class AgentError(Exception):
    """An agent cannot be made or played; the message says what is wrong with its module, class or methods."""


def load_agent(entry: str) -> MakeAgent:
    """A maker of the agents of a class, which needs neither a base class nor a registration.

    The class is called with no arguments, or with the environment if its constructor needs an argument. The
    maker raises `AgentError` where that fails, or the result lacks a method.

    Args:
        entry: "module:Class"; the module is imported as Python would, so its folder is on the path.

    Raises:
        AgentError: there is no such module or class, or importing it fails.
    """
    module, _, name = entry.partition(":")
    if not module or not name:
        raise AgentError(f"agent is {entry!r}; an agent of your own is named as module:Class")
    try:
        namespace = vars(import_module(module))
    except ModuleNotFoundError as error:
        hint = module_hint(module, error.name)
        raise AgentError(f"agent is {entry!r}, but there is no module {error.name!r}: {hint}") from error
    except (Exception, SystemExit) as error:
        raise AgentError(f"agent is {entry!r}, but importing it raised {error_words(error)}") from error
    if name not in namespace:
        hint = f"; {did_you_mean(name, namespace)}".rstrip("; ")
        raise AgentError(f"agent is {entry!r}, but the module has no {name!r}{hint}")
    kind = namespace[name]
    if not inspect.isclass(kind):
        raise AgentError(f"agent is {entry!r}, which is {kind!r:.80}; give the name of a class")
    return lambda env: _made(entry, kind, env)


def _made(entry: str, kind: Any, env: gym.Env[str, str]) -> Agent:
    try:
        needed = [name for name, given in inspect.signature(kind).parameters.items() if _is_needed(given)]
    except (TypeError, ValueError) as error:  # a constructor that is not Python's may not tell
        raise AgentError(f"agent is {entry!r}, but making it raised {error_words(error)}") from error
    if len(needed) > 1:
        raise AgentError(
            f"agent is {entry!r}, whose constructor needs {', '.join(needed)}; it is made without arguments, "
            "or with the environment as the only one: give the others defaults"
        )
    try:
        agent = kind(env) if needed else kind()
    except (Exception, SystemExit) as error:
        raise AgentError(f"agent is {entry!r}, but making it raised {error_words(error)}") from error
    if not isinstance(agent, Agent):
        lacking = " and ".join(call for name, (call, _) in _METHODS.items() if name not in dir(agent))
        raise AgentError(f"agent is {entry!r}, which lacks the method {lacking}")
    methods: list[Callable[..., Any]] = [agent.reset, agent.act]
    for method, (call, arguments) in zip(methods, _METHODS.values(), strict=True):
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError as error:
            raise AgentError(f"agent is {entry!r}, which cannot be called as {call}: {error}") from error
    return agent


def _is_needed(parameter: inspect.Parameter) -> bool:
    variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variable
