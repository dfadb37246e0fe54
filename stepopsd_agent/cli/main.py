"""The ``stepopsd`` command: a list of its commands, errors in one line, and exit codes.

Exit codes: 0 good, 1 a target missed, a replay differs or the run was stopped before its end, 2 bad input.
"""

import importlib.metadata
import sys
import warnings
from collections.abc import Collection, Sequence
from typing import TextIO

from jsonargparse import Namespace

from stepopsd_agent.cli import (
    check_model,
    compare,
    config,
    credit,
    data,
    doctor,
    evaluate,
    export,
    importing,
    index,
    plan,
    play,
    record,
    replay,
    serve_retriever,
    sweep,
    train,
    view,
    warmstart,
)
from stepopsd_agent.cli.config_file import named_files, use_loader
from stepopsd_agent.cli.parser import (
    Command,
    Parser,
    chosen,
    command_parser,
    complain,
    files_first,
    words_first,
)
from stepopsd_envs.user_path import user_path

COMMANDS: dict[str, Command] = {
    "warmstart": warmstart,
    "train": train,
    "sweep": sweep,
    "eval": evaluate,
    "compare": compare,
    "record": record,
    "replay": replay,
    "export": export,
    "import": importing,
    "play": play,
    "view": view,
    "credit": credit,
    "plan": plan,
    "config": config,
    "check-model": check_model,
    "data": data,
    "doctor": doctor,
    "index": index,
    "serve-retriever": serve_retriever,
}
"""A new command is a module of this room, see `parser.Command`, and a line here."""

BAD_INPUT = (
    "builtins:OSError",
    "gymnasium.error:DependencyNotInstalled",
    "stepopsd_agent.cli.checks:UsageError",
    "stepopsd_agent.credit.base:MissingColumnError",
    "stepopsd_agent.models.policy:ModelFolderError",
    "stepopsd_agent.rollout.chat_client:ServedModelError",
    "stepopsd_agent.rollout.evaluation:OtherDataError",
    "stepopsd_agent.run.files.checkpoint:CheckpointError",
    "stepopsd_agent.run.files.tracking:TrackingError",
    "stepopsd_agent.tasks.agents.custom:AgentError",
    "stepopsd_envs.alfworld.errors:GameFileError",
    "stepopsd_envs.manifest:GamesNotFoundError",
    "stepopsd_envs.search_qa.retrieval.base:RetrieverError",
    "stepopsd_envs.search_qa.retrieval.errors:RetrievalSetupError",
    "stepopsd_wrappers:EpisodeFormatError",
    "stepopsd_wrappers:RecordingError",
    "stepopsd_wrappers:ReplayError",
    "stepopsd_wrappers.sb3.saved:SavedModelError",
)
"""Their messages tell the user what to do; all other errors are the program's and keep their trace."""

STOPPED = (
    "builtins:FloatingPointError",
    "stepopsd_agent.rollout.failures:EnvironmentDownError",
    "stepopsd_agent.run.run:Interrupted",
)
"""The run ended before its end: by Ctrl-C, a gradient that was not finite, or an environment that is down."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad flags exit with 2, as argparse does."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _run(settings)
    except KeyboardInterrupt:
        print("stepopsd: stopped; what was written is kept", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> Namespace:
    """The command and its settings; those of a run that is continued come from its folder.

    Raises:
        SystemExit: after one line that names what is wrong.
    """
    # Each may go without its last word, so argparse would not take it behind a flag.
    if arguments[:1] in (["credit"], ["config"], ["plan"], ["index"]):
        arguments = words_first(arguments, COMMANDS[arguments[0]])
    if arguments[:1] == ["plan"] and arguments[1:2] and not arguments[1].startswith("-"):
        arguments = ["plan", "--config", *arguments[1:]]
    try:
        arguments = named_files(arguments)
    except ValueError as error:
        raise SystemExit(complain(str(error))) from error
    if arguments[:1] == ["credit"] and arguments[1:2] in (["score"], ["compare"]):
        arguments = _with_the_run_s_config(arguments)
    arguments = files_first(arguments)
    settings = build_parser(*chosen(arguments)).parse_args(list(arguments))
    if settings[settings.command].get("resume") is None:
        if settings.command == "sweep":
            settings["sweep"]["trained"] = sweep.training_settings(settings["sweep"], arguments[1:], parse)
        return settings
    flags = [argument for argument in arguments if argument.startswith("--resume")]
    if len(arguments) > 1 + sum(2 if flag == "--resume" else 1 for flag in flags):
        raise SystemExit(
            complain("--resume goes on with the settings in the folder it names; leave out the other flags")
        )
    if settings.command != "train":
        return settings
    run = user_path(settings["train"].resume)
    if not (run / "config.yaml").is_file():
        problem = f"{run} is not a run folder: it has no config.yaml"
        raise SystemExit(complain(f"{problem}; --resume takes the --out of an earlier train"))
    saved = parse(["train", "--config", str(run / "config.yaml")])
    saved["train"]["resume"] = str(run)
    return saved


def _with_the_run_s_config(arguments: Sequence[str]) -> Sequence[str]:
    """Let `credit score RUN` and `credit compare RUN` read the run's own settings, unless a file is named."""
    if arguments[2:3] == [] or arguments[2].startswith("-"):
        return arguments
    if any(argument.partition("=")[0] == "--config" for argument in arguments):
        return arguments
    folder = user_path(arguments[2])
    for run in (folder, folder.parent):  # the run, or its episodes
        if (run / "config.yaml").is_file() and (run / "episodes").is_dir():
            return ["credit", "--config", str(run / "config.yaml"), *arguments[1:]]
    return arguments


def build_parser(env_id: str, method: str, left_out: Collection[str] = ()) -> Parser:
    """The whole command line, with the flags of an environment and of a credit method.

    Args:
        env_id: the environment.
        method: the credit method.
        left_out: fields of another method, to pass over in config files.
    """
    use_loader(left_out)
    parser = Parser(
        prog="stepopsd",
        description="Text environments with step boundaries, and the learner that uses them.",
        version=_version(),
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, command in COMMANDS.items():
        commands.add_subcommand(name, command_parser(name, command, env_id, method), help=command.HELP)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("stepopsd")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (stepopsd runs without being installed)"


def _run(settings: Namespace) -> int:
    """Run the command; errors of the user's become one line."""
    try:
        return COMMANDS[settings.command].run(settings[settings.command])
    except Exception as error:
        if _is_one_of(error, BAD_INPUT):
            return complain(_message(error))
        if _is_one_of(error, STOPPED):
            print(f"stepopsd: {error}", file=sys.stderr)
            return 1
        raise


def _is_one_of(error: Exception, entries: Sequence[str]) -> bool:
    """Whether the error is of one of these classes; a module that is not loaded yet cannot have raised it."""
    for entry in entries:
        module, _, name = entry.partition(":")
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return True
    return False


def _message(error: BaseException) -> str:
    """The error's text; the system's errors put their number first, which tells nobody anything."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line; where in the code it came from helps no user."""
    print(f"stepopsd: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
