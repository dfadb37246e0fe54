"""The settings ``env.*`` of an environment, derived from its constructor: names, types, defaults, help."""

import inspect
import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import gymnasium as gym
from docstring_parser import parse as parse_docstring
from gymnasium.envs.registration import load_env_creator

from stepopsd_agent.config import EnvConfig, EvalConfig
from stepopsd_agent.tasks.registry import get

_PLAIN = (str, int, float, bool, type(None))
_SHARED = frozenset(spec.name for spec in fields(EnvConfig))


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: of the constructor's argument.
        type: as a flag can have it.
        default: of the constructor, unless the registration has another.
        help: from the docstring.
    """

    name: str
    type: Any
    default: Any
    help: str


def constructor_settings(env_id: str) -> dict[str, Setting]:
    """The settings of an environment by name, in the constructor's order.

    Raises:
        ValueError: the id is unknown to the learner or to Gymnasium, or an argument cannot be a setting.
    """
    fixed = get(env_id).fixed
    try:
        spec = gym.spec(env_id.rpartition(":")[2])  # its module has been imported by `get`
    except gym.error.Error as error:
        raise ValueError(f"env.id is {env_id!r}, which Gymnasium does not know: {error}") from error
    if spec.entry_point is None:
        raise ValueError(f"env.id is {env_id!r}, which has no entry point to make it by")
    creator: Any = spec.entry_point
    try:
        creator = load_env_creator(creator) if isinstance(creator, str) else creator
        hints = _hints(creator)
    except (ImportError, AttributeError, NameError) as error:
        raise ValueError(
            f"{env_id}: its entry point {spec.entry_point} cannot be read: {error}. The annotations of the "
            "constructor must be importable at run time, not under TYPE_CHECKING alone"
        ) from error
    help_texts = _help(creator)
    settings = {}
    for name, parameter in inspect.signature(creator).parameters.items():
        if name in fixed or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = spec.kwargs.get(name, parameter.default)
        if default is inspect.Parameter.empty:
            raise ValueError(f"{env_id}: the constructor's argument {name!r} has no default; give it one")
        # Without an annotation the default says the type.
        kind = flag_type(hints.get(name, type(default)))
        if kind is None:
            continue
        if name in _SHARED:
            raise ValueError(
                f"{env_id}: the constructor's argument {name!r} has the name of a setting of every "
                "environment; rename it, or name it in TaskSpec.fixed"
            )
        settings[name] = Setting(name, kind, default, help_texts.get(name, ""))
    return settings


def env_arguments(config: EnvConfig) -> dict[str, Any]:
    """All arguments of ``gymnasium.make``, with the constructor's defaults, so that records are complete.

    Raises:
        ValueError: an argument is given that the constructor does not have.
    """
    known = constructor_settings(config.id)
    if unknown := sorted(set(config.arguments) - set(known)):
        has = ", ".join(f"env.{name}" for name in known)
        value = config.arguments[unknown[0]]
        raise ValueError(f"env.{unknown[0]} is {value!r}, a setting that {config.id} lacks; it has {has}")
    return {name: config.arguments.get(name, setting.default) for name, setting in known.items()}


def env_section(env_id: str) -> type:
    """A dataclass of all settings ``env.*`` of an environment, for the command line."""
    settings = [
        (setting.name, setting.type, _field(setting.default))
        for setting in constructor_settings(env_id).values()
    ]
    helps = {setting.name: setting.help for setting in constructor_settings(env_id).values()}
    return _section("Env", EnvConfig, settings, helps)


def eval_section(env_id: str) -> type:
    """A dataclass of all settings ``eval.*`` of an environment, for the command line."""
    held_out = get(env_id).held_out
    hints = get_type_hints(held_out)
    settings = [(spec.name, hints[spec.name], _field(_default(spec))) for spec in fields(held_out)]
    return _section("Eval", EvalConfig, settings, _help(held_out))


def _section(name: str, shared: type, settings: list[tuple[str, Any, Any]], helps: Mapping[str, str]) -> type:
    """The fields that every environment has, then its own."""
    hints, shared_help = get_type_hints(shared), _help(shared)
    common = [
        (spec.name, hints[spec.name], _field(_default(spec)))
        for spec in fields(shared)
        if spec.name != "arguments"
    ]
    section = make_dataclass(name, [*common, *settings])
    texts = {**shared_help, **helps}
    lines = [f"    {field_name}: {texts.get(field_name, '')}" for field_name, *_ in [*common, *settings]]
    summary = (shared.__doc__ or name).partition("\n")[0]
    section.__doc__ = "\n".join([summary, "", "Attributes:", *lines])
    return section


def flag_type(annotation: Any) -> Any:
    """The part of an annotation that a flag can have: text, numbers, choices, lists of these; else None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN or origin is Literal:
        return annotation
    if annotation is os.PathLike or origin is os.PathLike:
        return str
    if origin in (Union, types.UnionType):
        kinds = list(
            dict.fromkeys(kind for argument in arguments if (kind := flag_type(argument)) is not None)
        )
        return Union[tuple(kinds)] if set(kinds) - {type(None)} else None  # noqa: UP007  # of a tuple
    if origin in (list, Sequence) and flag_type(arguments[0]) is not None:
        return list[flag_type(arguments[0])]  # type: ignore[misc]
    return None


def _hints(creator: Any) -> dict[str, Any]:
    """Types of a constructor's arguments."""
    return get_type_hints(creator.__init__ if inspect.isclass(creator) else creator)


def _help(documented: Any) -> dict[str, str]:
    """Descriptions of arguments or attributes, on one line each, from the docstrings."""
    texts = [documented.__doc__, documented.__init__.__doc__ if inspect.isclass(documented) else None]
    helps = {}
    for text in texts:
        for parameter in parse_docstring(text or "").params:
            helps[parameter.arg_name] = " ".join((parameter.description or "").split())
    return helps


def _default(spec: "Field[Any]") -> Any:
    return spec.default if spec.default_factory is MISSING else spec.default_factory()


def _field(default: Any) -> Any:
    """A dataclass field; a mutable default is copied for each instance."""
    if isinstance(default, list | dict | set):
        return field(default_factory=lambda: type(default)(default))
    return field(default=default)
