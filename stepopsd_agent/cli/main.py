"""The ``stepopsd`` command: the list of its commands, and the way from a command line to one of them.

Exit codes: 0 good, 1 a target missed, a replay differs or the run was stopped before its end, 2 bad input,
141 nobody reads the output any more.
"""

import importlib
import importlib.metadata
import io
import pkgutil
import sys
import warnings
from collections.abc import Collection, Sequence

from jsonargparse import Namespace

from stepopsd_agent.cli import commands
from stepopsd_agent.cli.arguments import METHOD, chosen, files_first, words_first
from stepopsd_agent.cli.basic import ALL
from stepopsd_agent.cli.config_file import named_files, use_loader
from stepopsd_agent.cli.errors import exit_code, quiet_when_unread, show_warning
from stepopsd_agent.cli.launching import check_shared, said_once
from stepopsd_agent.cli.parser import Parser, checked_command, command_parser, complain
from stepopsd_agent.config import EnvConfig

COMMANDS = {
    file.name.rstrip("_").replace("_", "-"): checked_command(
        importlib.import_module(f"{commands.__name__}.{file.name}")
    )
    for file in pkgutil.iter_modules(commands.__path__)
    if not file.name.startswith("_")
}
"""Every file of ``cli/commands``: a new command is a new file there, and nothing else."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad flags exit with 2, as argparse does."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # errors quote texts that it may not be able to show
        sys.stdout.reconfigure(errors="backslashreplace")
    return quiet_when_unread(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(arguments: Sequence[str]) -> int:
    try:
        with said_once():
            settings = parse(arguments)
            check_shared(settings.command)
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            return exit_code(lambda: COMMANDS[settings.command].run(settings[settings.command]))
    except KeyboardInterrupt:
        print("stepopsd: stopped; what was written is kept", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> Namespace:
    """The command and its settings.

    Raises:
        SystemExit: after one line that names what is wrong; without any argument after the list of commands.
    """
    if not arguments:
        build_parser(only="").print_help(sys.stderr)
        raise SystemExit(2)
    brief = ALL not in arguments and bool({"-h", "--help"}.intersection(arguments))
    arguments = ["--help" if argument == ALL else argument for argument in arguments]
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is not None:
        arguments = words_first(arguments, command)
        arguments = getattr(command, "prepare", list)(arguments)
    try:
        arguments = named_files(arguments)
    except ValueError as error:
        raise SystemExit(complain(str(error))) from error
    arguments = files_first(arguments)
    name = arguments[0] if command is not None else ""
    flags = chosen(arguments) if command is not None and command.USES else ()
    settings = build_parser(*flags, brief=brief, only=name).parse_args(list(arguments))
    given = settings[settings.command]
    if given.get("resume") is not None and len(arguments) > 1 + _words_of(arguments, "--resume"):
        raise SystemExit(
            complain("--resume goes on with the settings in the folder it names; leave out the other flags")
        )
    if complete := getattr(COMMANDS[settings.command], "complete", None):
        settings[settings.command] = complete(given, arguments[1:], parse)
    return settings


def _words_of(arguments: Sequence[str], flag: str) -> int:
    """The number of words that a flag and its value take, however often it is given."""
    given = [argument for argument in arguments if argument.partition("=")[0] == flag]
    return sum(2 if argument == flag else 1 for argument in given)


def build_parser(
    env_id: str = EnvConfig.id,
    method: str = METHOD,
    left_out: Collection[str] = (),
    *,
    only: str,
    brief: bool = False,
) -> Parser:
    """The command line, with the flags of an environment and of a credit method.

    Args:
        env_id: the environment.
        method: the credit method.
        left_out: fields of another method, to pass over in config files.
        brief: the help of a command shows the basic settings alone.
        only: the command whose flags are wanted; others are known by name, as making their flags takes time,
            and those of credit methods take torch.
    """
    use_loader(left_out)
    parser = Parser(
        prog="stepopsd",
        description="Text environments with step boundaries, and the learner that uses them.",
        version=_version(),
        brief=brief and bool(only),
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, command in COMMANDS.items():
        wanted = name == only
        parser_of = command_parser(name, command, env_id, method, brief=brief) if wanted else Parser()
        commands.add_subcommand(name, parser_of, help=command.HELP)
        parser_of.prog = f"stepopsd {name}"  # without "[options]" before the name, where none go
    parser.usage = "stepopsd COMMAND [--SETTING VALUE ...]"  # not before: the commands' names would hold it
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("stepopsd")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (stepopsd runs without being installed)"


if __name__ == "__main__":
    raise SystemExit(main())
