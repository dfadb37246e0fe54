"""From command modules and settings to one parser; which environment and credit method decide the flags."""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any, NoReturn, Protocol, cast

from jsonargparse import ArgumentParser, Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.basic import ALL, BASIC
from stepopsd_agent.cli.config_file import MODE, is_config
from stepopsd_agent.cli.wording import (
    BriefHelpFormatter,
    HelpFormatter,
    first_sentence,
    kind,
    lacking,
    nearest,
    no_setting,
    worded,
)
from stepopsd_agent.config import RunConfig
from stepopsd_agent.tasks import constructor_settings, env_section, eval_section, get
from stepopsd_envs.rendering import printable

_SECTIONS = frozenset(spec.name for spec in fields(RunConfig)) | {"credit"}
"""The settings by their first name."""
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<flag>--[^\s=]+)")
_WORD = re.compile(r"unrecognized arguments: (?P<word>[^-\s]\S*)")
_NO_SETTING = re.compile(r"Subcommand '(?P<command>[\w-]+)' does not accept option '(?P<key>.+)'")
_MISSING = re.compile(r"the following arguments are required: (?P<keys>(?P<command>[\w-]+)\..+)")


class Command(Protocol):
    """A file of ``cli/commands``; the command is named like the file, with ``-`` for ``_``.

    It may also have any of these:

    - ``prepare(arguments)`` returns the command line to parse in place of the one given.
    - ``IGNORES`` is a frozenset of single settings that it does not read in sections of ``USES``.
    - ``complete(settings, arguments, parse)`` returns the parsed settings with what only the command knows,
      such as those that a run folder keeps; ``parse`` parses another command line.
    """

    HELP: str
    """Its purpose, in one line that begins with a small letter."""
    USES: frozenset[str]
    """Settings it reads, by section or singly ("eval.temperature"); empty: it takes none.

    Others take all, so that one file serves every command.
    """

    @property
    def add_flags(self) -> "Callable[[Parser], None]":
        """Add the flags of this command that are no settings of a run."""
        ...

    @property
    def run(self) -> Callable[[Namespace], int]:
        """Run on the parsed settings; return the exit code."""
        ...


def checked_command(module: ModuleType) -> Command:
    """The command in a file.

    Raises:
        TypeError: the file lacks a part of `Command`, or has one of another kind; all of it is named.
    """
    faults = [f"no {name}(...)" for name in ("add_flags", "run") if not callable(getattr(module, name, None))]
    text, uses = getattr(module, "HELP", None), getattr(module, "USES", None)
    if not isinstance(text, str) or not text:
        faults.append("no HELP, a line of text")
    if not isinstance(uses, frozenset):
        faults.append("no USES, a frozenset of settings")
    elif unknown := sorted({name.partition(".")[0] for name in uses} - _SECTIONS):
        faults.append(f"USES has {', '.join(unknown)}, and the settings are {', '.join(sorted(_SECTIONS))}")
    if faults:
        raise TypeError(f"{module.__file__} is no command: {'; '.join(faults)} (see cli/parser.py, Command)")
    return cast(Command, module)


class Parser(ArgumentParser):
    """A parser of settings whose errors are one line, without a list of a hundred flags."""

    def __init__(self, *, brief: bool = False, **options: Any) -> None:
        super().__init__(
            parser_mode=MODE, formatter_class=BriefHelpFormatter if brief else HelpFormatter, **options
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and exit with 2."""
        commands = self._subcommands_action.choices if self._subcommands_action else {}
        if (missing := _MISSING.fullmatch(message)) and missing["command"] in commands:
            command = commands[missing["command"]]
            keys = [key.partition(".")[2] for key in missing["keys"].split(", ")]
            name = f"stepopsd {missing['command']}"
            raise SystemExit(complain(f"{name} needs {lacking(keys, command._actions)} (see {name} --help)"))
        if (unknown := _NO_SETTING.fullmatch(message)) and unknown["command"] in commands:
            name = f"stepopsd {unknown['command']}"
            known = [action.dest for action in commands[unknown["command"]]._actions]
            raise SystemExit(complain(f"{no_setting(unknown['key'], known)} (see {name} --help-all)"))
        message = worded(
            message, {action.dest: getattr(action, "_typehint", action.type) for action in self._actions}
        )
        if unknown := _UNKNOWN.match(message):
            shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
            flags = [flag for action in shown for flag in action.option_strings]
            message += nearest(unknown["flag"], flags)
        elif (found := _WORD.match(message)) and is_config(found["word"]):
            message += f"; did you mean --config {found['word']}?"
        raise SystemExit(complain(f"{message} (see {self.prog} --help)"))


def complain(message: str) -> int:
    """Print an error as one line that controls no terminal; return the exit code of bad input."""
    print(f"stepopsd: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return 2


def command_parser(name: str, command: Command, env_id: str, method: str, *, brief: bool = False) -> Parser:
    """The parser of one command: its own flags, then the settings of a run where it reads any.

    Args:
        name: the command's.
        command: its file.
        env_id: the environment.
        method: the credit method.
        brief: its help shows the basic settings alone; other settings are then left out of what is printed.
    """
    description = f"{command.HELP[0].upper()}{command.HELP[1:]}."
    if not command.USES:
        parser = Parser(description=description)
        command.add_flags(parser)
        return parser
    parser = Parser(
        description=description if brief else f"{description} One config file may serve all commands.",
        usage=f"stepopsd {name} [--config FILE] [--SETTING VALUE ...]",
        epilog=f"These are the basic settings. All of them: stepopsd {name} {ALL}" if brief else None,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file of the settings below; flags win over it"
    )
    command.add_flags(parser)
    parser.add_class_arguments(RunConfig, skip={"env", "eval"})
    parser.add_class_arguments(env_section(env_id), "env")
    parser.add_class_arguments(eval_section(env_id), "eval")
    methods = ", ".join(credit.names())
    parser.add_argument("--credit.method", default=method, help=f"credit method: {methods}, or module:name")
    parser.add_class_arguments(credit.load(method), "credit")
    hide(parser, command, brief=brief, outside=_outside(env_id, method))
    return parser


def _outside(env_id: str, method: str) -> frozenset[str]:
    """The settings that an environment and a credit method from outside the package have of their own."""
    settings = set[str]()
    if not env_id.startswith("stepopsd/"):
        settings |= {f"env.{name}" for name in constructor_settings(env_id)}
        settings |= {f"eval.{spec.name}" for spec in fields(get(env_id).held_out)}
    made = credit.load(method)
    if not made.__module__.startswith(f"{credit.__name__}."):
        settings |= {f"credit.{spec.name}" for spec in fields(made)}
    return frozenset(settings)


def hide(parser: Parser, command: Command, *, brief: bool, outside: frozenset[str]) -> None:
    """Keep out of a command's help what it does not read and, in a brief one, what is not basic.

    All flags of an environment from outside the package are basic. What ``outside`` names says what it is by
    its own docstring: a setting of the same name may be another thing there.
    """
    all_of_env = any(name.startswith("env.") for name in outside)
    ignored: frozenset[str] = getattr(command, "IGNORES", frozenset())
    for group in parser._action_groups:
        group.title = group.title and group.title[0].upper() + group.title[1:].replace("``", "")
    if brief:
        parser._optionals.title = "Options [default]"
        _in_one_group(parser)
    for action in parser._actions:
        section = action.dest.partition(".")[0]
        if action.dest == "print_config":
            action.help = "print the settings as they would be used, and stop"
        elif section in _SECTIONS:
            read = not command.USES.isdisjoint({section, action.dest}) and action.dest not in ignored
            if not read or (brief and action.dest not in BASIC and not (all_of_env and section == "env")):
                action.help = argparse.SUPPRESS
            action.metavar = action.metavar or kind(getattr(action, "_typehint", action.type))
            if brief and str(action.metavar).startswith("{"):  # all its choices
                action.metavar = action.dest.rpartition(".")[2].upper()
        if brief and action.help not in (None, argparse.SUPPRESS):
            ours = None if action.dest in outside else BASIC.get(action.dest)
            action.help = ours or first_sentence(action.help or "")


def _in_one_group(parser: Parser) -> None:
    """Show settings of all sections under one heading: a few of each are left, and the help fits a screen."""
    of_settings = [
        group
        for group in parser._action_groups
        if any(action.dest.partition(".")[0] in _SECTIONS for action in group._group_actions)
    ]
    own = parser._optionals  # where argparse itself puts flags
    first, *others = [group for group in of_settings if group is not own]
    first.title, first.description = "Settings [default]", None
    for group in others:
        first._group_actions += group._group_actions
        group._group_actions = []
        group.title = group.description = None
