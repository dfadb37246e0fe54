"""The ``stepopsd`` command: parsing, errors and exit codes. What the commands do stands in ``commands/``.

Exit codes: 0 good, 1 a target missed, a replay differs or the run was stopped before its end, 2 bad input.
"""

import argparse
import importlib.metadata
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import yaml
from jsonargparse import ArgumentParser, Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.retrieval_flags import add_index_flags, add_serve_flags
from stepopsd_agent.config.run import RunConfig

COMMANDS = {
    "warmstart": "clone an exploring expert into a model, so that training has something to improve",
    "train": "train a policy with GRPO and a credit method, or continue a run with --resume RUN",
    "eval": "play held-out tasks with a model or an agent of the package; print success with intervals",
    "record": "play tasks and keep the step-annotated episodes",
    "replay": "play recorded episodes again and compare every observation",
    "play": "play a task yourself at the keyboard",
    "credit": "list the credit methods with their papers, or compute one on recorded episodes of any agent",
    "plan": "say what memory, tokens and time a training run will take, before anything runs",
    "data": "find the official games, compare them with the published ones, or download them",
    "index": "build an index of a corpus, or get a prebuilt one, for Search-QA",
    "serve-retriever": "answer searches over HTTP, as Search-R1's server does",
}
_PLAYING = {"seed", "device", "threads", "env", "model", "rollout", "eval"}
USED: dict[str, set[str]] = {
    "warmstart": _PLAYING | {"hindsight", "warmstart"},
    "train": _PLAYING
    | {"updates", "checkpoint_every", "hindsight", "schedule", "learner", "critic", "alarms", "credit"},
    "eval": _PLAYING,
    "record": _PLAYING,
    "play": {"seed", "env"},
    "plan": _PLAYING | {"updates", "hindsight", "learner", "critic", "credit"},
    "credit": _PLAYING - {"eval"} | {"hindsight", "learner", "credit"},
}
"""Settings a command reads. It takes all, so that one file serves every command; its help shows these."""
_POSITIONAL = {"credit": "credit {list,score} [EPISODES]", "plan": "plan [CONFIG]"}
"""How the usage of a command begins that takes more than settings."""


class Parser(ArgumentParser):
    """Says what is wrong in one line, without listing a hundred flags first."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and exit with 2."""
        raise SystemExit(_complain(f"{message} (see {self.prog.replace('[options] ', '')} --help)"))


def build_parser(method: str) -> ArgumentParser:
    """The whole command line; ``train`` takes the fields of the credit method named ``method``."""
    parser = Parser(
        prog="stepopsd",
        description="Text environments with step boundaries, and the learner that uses them.",
        version=_version(),
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, text in COMMANDS.items():
        commands.add_subcommand(name, _subparser(name, text, method), help=text)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("stepopsd")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (stepopsd runs without being installed)"


def _subparser(name: str, text: str, method: str) -> Parser:
    description = text[0].upper() + text[1:] + "."
    if name == "replay":
        sub = Parser(description=description)
        sub.add_argument("episodes", type=str, help="folder of recorded episodes, or a run folder")
        sub.add_argument(
            "--any_engine",
            action="store_true",
            help="also replay what another engine, or another version of it, has recorded",
        )
        return sub
    if name == "data":
        return _data_parser(description)
    if name in ("index", "serve-retriever"):
        sub = Parser(description=description)
        (add_index_flags if name == "index" else add_serve_flags)(sub)
        return sub
    sub = Parser(
        description=description + " One config file may hold the settings of all commands.",
        usage=f"stepopsd {_POSITIONAL.get(name, name)} [--config FILE] [--SETTING VALUE ...]",
    )
    sub.add_argument("--config", action="config", help="YAML file of the settings below; flags win over it")
    _add_own_flags(sub, name)
    sub.add_class_arguments(RunConfig)
    sub.add_argument("--credit.method", default=method, help=f"credit method: {', '.join(credit.names())}")
    sub.add_class_arguments(credit.load(method), "credit")
    _hide_unused(sub, USED[name])
    return sub


def _add_own_flags(sub: Parser, name: str) -> None:
    """Flags of this command that are no settings of the run."""
    absent = argparse.SUPPRESS  # a default would get into --print_config
    if name == "credit":
        sub.add_argument("action", choices=["list", "score"], help="what to do")
        sub.add_argument("episodes", nargs="?", help="folder of recorded episodes, or a run folder")
        sub.add_argument(
            "--group_by",
            choices=["recorded", "task"],
            default=absent,
            help="compare attempts that were played as a group (default), or all attempts at a task",
        )
    if name == "plan":
        sub.add_argument("--rate", type=float, default=absent, help="matmul rate of the device, in TFLOP/s")
        sub.add_argument("--bandwidth", type=float, default=absent, help="its memory's speed, in GB/s")
        sub.add_argument("--steps", type=float, default=absent, help="steps per episode to reckon with")
        sub.add_argument("--response_tokens", type=float, default=absent, help="tokens per response likewise")
    if name not in ("play", "plan"):
        sub.add_argument("--out", type=str, default=absent, metavar="FOLDER", help="folder to write to")
    if name == "train":
        sub.add_argument(
            "--resume",
            type=str,
            default=absent,
            metavar="RUN",
            help="continue this run folder with its own config; takes no other flag",
        )
    if name in ("eval", "record"):
        sub.add_argument(
            "--agent",
            default=absent,
            choices=["model", "random", "expert", "oracle"],
            help="who plays (default: model)",
        )
    if name == "record":
        sub.add_argument("--episodes", type=int, default=absent, help="how many to record (default: 10)")
    if name == "play":
        sub.add_argument(
            "--game", type=str, default=absent, help="id or path of the task; else the seed draws it"
        )


def _data_parser(description: str) -> Parser:
    sub = Parser(
        description=f"{description} Exit code 0: all found are as published, be it a part of them; 1: some "
        "are not; 2: none found, or the download failed.",
        usage="stepopsd data alfworld [--data_root FOLDER] [--download] [--manifest FILE]",
    )
    sub.add_argument("dataset", choices=["alfworld"], help="which games")
    sub.add_argument(
        "--data_root",
        type=str,
        metavar="FOLDER",
        help="folder that holds the splits (default: $ALFWORLD_DATA, else ~/.cache/alfworld)",
    )
    sub.add_argument(
        "--download",
        action="store_true",
        help="get what is missing with alfworld-download (extra alfworld); takes gigabytes",
    )
    sub.add_argument(
        "--manifest",
        type=str,
        metavar="FILE",
        help="write the list of games, with the hash of each and the fingerprint of each split, as JSON",
    )
    return sub


def _hide_unused(parser: ArgumentParser, used: set[str]) -> None:
    """Leave settings the command does not read out of its help."""
    sections = {name for names in USED.values() for name in names}
    for action in parser._actions:
        if action.dest.partition(".")[0] in sections - used:
            action.help = argparse.SUPPRESS


def credit_method(argv: Sequence[str]) -> str:
    """Find ``credit.method`` before parsing, since it decides which ``--credit.*`` fields there are.

    Flags win over the file.
    """
    method = "step_opsd"
    for value in _values(argv, "--config"):
        method = _method_in_file(Path(value)) or method
    return [method, *_values(argv, "--credit.method")][-1]


def _values(argv: Sequence[str], flag: str) -> list[str]:
    """What stands behind each occurrence of a flag."""
    found = []
    for argument, following in zip(argv, [*argv, ""][1:], strict=True):
        name, equals, value = argument.partition("=")
        if name == flag:
            found.append(value if equals else following)
    return found


def _method_in_file(path: Path) -> str | None:
    if not path.is_file():
        return None  # the parser says so
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:  # the parser would not name the file
        raise SystemExit(_complain(f"{path} is not YAML: {error}; correct it and try again")) from error
    section = content.get("credit") if isinstance(content, dict) else None
    method = section.get("method") if isinstance(section, dict) else None
    return None if method is None else str(method)


def parse(arguments: Sequence[str]) -> Namespace:
    """The command and its settings; those of a run that is continued come from its folder.

    Raises:
        SystemExit: after one line that names what is wrong.
    """
    if arguments[:1] == ["plan"] and arguments[1:2] and not arguments[1].startswith("-"):
        arguments = ["plan", "--config", *arguments[1:]]
    method = credit_method(arguments)
    if method not in credit.names():
        raise SystemExit(_complain(f"credit.method is {method!r}; allowed are {', '.join(credit.names())}"))
    settings = build_parser(method).parse_args(list(arguments))
    chosen: Namespace = settings[settings.command]
    if settings.command != "train" or chosen.get("resume") is None:
        return settings
    run = Path(chosen.resume)
    if len(arguments) > 1 + sum(
        2 if argument == "--resume" else 1 for argument in arguments if argument.startswith("--resume")
    ):
        raise SystemExit(
            _complain("--resume continues a run with the settings in its folder; leave out the other flags")
        )
    if not (run / "config.yaml").is_file():
        problem = f"{run} is not a run folder: it has no config.yaml"
        raise SystemExit(_complain(f"{problem}; --resume takes the --out of an earlier train"))
    saved = parse(["train", "--config", str(run / "config.yaml")])
    saved["train"]["resume"] = str(run)
    return saved


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad flags exit with 2, as argparse does."""
    try:
        return _run(parse(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("stepopsd: stopped; what was written is kept", file=sys.stderr)
        return 1


def _run(settings: Namespace) -> int:
    from stepopsd_agent.cli import commands  # transformers only once the arguments are known to be good

    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            return commands.COMMANDS[settings.command](settings[settings.command])
        except commands.BAD_INPUT as error:
            return _complain(_message(error))
        except commands.STOPPED as error:
            print(f"stepopsd: {error}", file=sys.stderr)
            return 1


def _message(error: BaseException) -> str:
    """The error's text; the system's errors put their number first, which tells nobody anything."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _complain(message: str) -> int:
    print(f"stepopsd: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


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
