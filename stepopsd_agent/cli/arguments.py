"""The command line before it is parsed: the order of its words, and what decides which flags there are."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from stepopsd_agent import credit
from stepopsd_agent.cli.config_file import read_config, use_loader
from stepopsd_agent.cli.parser import Command, Parser, complain
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import env_section, eval_section
from stepopsd_envs.user_path import user_path

METHOD = "step_opsd"
"""The credit method where none is named."""


def chosen(arguments: Sequence[str]) -> tuple[str, str, frozenset[str]]:
    """Environment id, credit method, and the fields of another method that a config file has.

    They are found before parsing, since they decide which flags there are.

    Raises:
        SystemExit: one of them is unknown, or a setting is given that the environment does not have.
    """
    env, evaluation = given(arguments, "env"), given(arguments, "eval")
    env_id = str(env.get("id", EnvConfig().id))
    method = str(given(arguments, "credit").get("method", METHOD))
    try:
        credit.load(method)
    except ValueError as error:
        raise SystemExit(complain(f"credit.method: {error}")) from error
    try:
        sections = {"env": (env, env_section(env_id)), "eval": (evaluation, eval_section(env_id))}
    except ValueError as error:
        raise SystemExit(complain(str(error))) from error
    for section, (values, kind) in sections.items():
        known = sorted(spec.name for spec in fields(kind))
        for name, value in values.items():
            if name not in known:
                has = ", ".join(f"{section}.{setting}" for setting in known)
                problem = f"{section}.{name} is {value!r}, a setting that {env_id} lacks; it has {has}"
                raise SystemExit(complain(problem))
    return env_id, method, _fields_of_another(arguments, method)


def _fields_of_another(arguments: Sequence[str], method: str) -> frozenset[str]:
    """Credit fields that files set for another method than a flag or a later file names; with a notice."""
    has = {spec.name for spec in fields(credit.load(method))}
    other, left_out = METHOD, dict[str, str]()
    for path in _files(arguments):
        in_file = _section_of_file(path, "credit")
        other = str(in_file.get("method", other))
        if other != method:
            left_out |= dict.fromkeys((in_file.keys() & _had(other, in_file)) - has, other)
    if not left_out:
        return frozenset()
    names = ", ".join(f"credit.{name}" for name in sorted(left_out))
    others = " and ".join(sorted(set(left_out.values())))
    notice = f"{method} has no {names}, which the config file sets for {others}; left out"
    print(f"stepopsd: notice: {notice}", file=sys.stderr)
    return frozenset(left_out)


def _had(method: str, values: Mapping[str, Any]) -> Collection[str]:
    """The fields of a method; those that a file gives it where its module is not here."""
    try:
        return {spec.name for spec in fields(credit.load(method))}
    except ValueError:  # what it is called does not matter any more
        return values.keys() - {"method"}


def _files(arguments: Sequence[str]) -> list[Path]:
    """The config files that are named, in order."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    flags = [(argument.partition("="), following) for argument, following in pairs]
    return [
        user_path(value if equals else following)
        for (flag, equals, value), following in flags
        if flag == "--config"
    ]


def files_first(arguments: Sequence[str]) -> list[str]:
    """The same with config files behind the command: flags win over files wherever they stand."""
    command, *rest = arguments or [""]
    files, flags = list[str](), list[str]()
    follows = False
    for argument in rest:
        follows, of_file = argument == "--config", follows or argument.partition("=")[0] == "--config"
        (files if of_file else flags).append(argument)
    return [command, *files, *flags] if arguments else []


def words_first(arguments: Sequence[str], command: Command) -> list[str]:
    """The same with what is no flag's in front, where argparse takes it: it may be written behind flags.

    argparse gives a word that may be left out, such as a folder, no second chance behind a flag.

    Args:
        arguments: the command and all that follows.
        command: the module, whose flags say how many values they take; a setting takes one.
    """
    use_loader()
    parser = Parser()
    command.add_flags(parser)
    takes = {flag: action.nargs for action in parser._actions for flag in action.option_strings}
    takes["--print_config"] = 0  # its value, if any, stands behind "="
    name, *rest = arguments
    words, flags, free = list[str](), list[str](), 0.0  # values that the last flag may still take
    for argument in rest:
        if argument.startswith("-") and not (free and _is_number(argument)):
            flag, equals, _ = argument.partition("=")
            nargs = takes.get(flag)
            free = 0 if equals or nargs == 0 else float("inf") if nargs == "+" else 1
            flags.append(argument)
        elif free and not (free == float("inf") and _is_folder(argument)):
            free -= 1
            flags.append(argument)
        else:
            words.append(argument)
    return [name, *words, *flags]


def _is_folder(text: str) -> bool:
    """Whether a word behind ``--method A B`` is no further method, but the folder to read."""
    return bool(text) and text not in credit.names() and user_path(text).is_dir()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def given(
    arguments: Sequence[str], section: str, *, files: bool = True, flags: bool = True
) -> dict[str, Any]:
    """The settings of a section by name, as files and flags give them; flags win."""
    settings: dict[str, Any] = {}
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        flag, equals, value = argument.partition("=")
        text = value if equals else following
        if flag == "--config" and files:
            settings |= _section_of_file(user_path(text), section)
        elif flags and flag.startswith(f"--{section}.") and not flag.endswith(".help"):
            settings[flag.removeprefix(f"--{section}.").removesuffix("+")] = text
    return settings


def _section_of_file(path: Path, section: str) -> dict[str, Any]:
    if not path.is_file():
        return {}  # the parser says so
    try:
        values = read_config(path).get(section)
    except (OSError, ValueError) as error:  # the parser would not name the file
        raise SystemExit(complain(str(error))) from error
    return values if isinstance(values, dict) else {}
