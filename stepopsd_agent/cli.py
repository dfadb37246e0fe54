"""The ``stepopsd`` command: parsing and exit codes. What the commands do stands in ``commands.py``.

Exit codes: 0 good, 1 a target missed, a replay differs or the run was stopped before its end, 2 bad input.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser, Namespace

from stepopsd_agent import credit
from stepopsd_agent.config import RunConfig

COMMANDS = {
    "warmstart": "clone an exploring expert into a model, so that reinforcement learning has something to improve",
    "train": "train a policy with GRPO and a credit method (default: step_opsd)",
    "eval": "play held-out games with a model, the random agent or the expert, and print success with its interval",
    "record": "play games and keep the step-annotated episodes",
    "replay": "play recorded episodes again and compare every observation",
    "play": "play a game yourself at the keyboard",
}


def build_parser(method: str) -> ArgumentParser:
    """The whole command line; ``train`` takes the fields of the credit method named ``method``."""
    parser = ArgumentParser(
        prog="stepopsd", description="Text environments with step boundaries, and the learner that uses them."
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, text in COMMANDS.items():
        commands.add_subcommand(name, _subparser(name, text, method), help=text)
    return parser


def _subparser(name: str, text: str, method: str) -> ArgumentParser:
    sub = ArgumentParser(description=text[0].upper() + text[1:] + ".")
    if name == "replay":
        sub.add_argument("episodes", type=Path, help="folder of recorded episodes")
        return sub
    sub.add_argument(
        "--config", action="config", help="YAML file with any of the fields below; flags win over it"
    )
    sub.add_class_arguments(RunConfig)
    if name in ("train", "warmstart", "record", "eval"):
        sub.add_argument("--out", type=Path, default=None, help="folder to write to")
    sub.add_argument(
        "--credit.method", default=method, help=f"credit method of train: {', '.join(credit.names())}"
    )
    sub.add_class_arguments(credit.load(method), "credit")
    if name == "train":
        sub.add_argument(
            "--resume", type=Path, default=None, help="continue this run folder with its own config"
        )
    if name in ("eval", "record"):
        sub.add_argument("--agent", default="model", choices=["model", "random", "expert"], help="who plays")
    if name == "record":
        sub.add_argument("--episodes", type=int, default=10, help="episodes to record")
    if name == "play":
        sub.add_argument("--game", default=None, help="id or path of the game; drawn by the seed when absent")
    return sub


def credit_method(argv: Sequence[str]) -> str:
    """Find ``credit.method`` before parsing, since it decides which ``--credit.*`` fields exist; flags win over the file."""
    method = "step_opsd"
    for k, argument in enumerate(argv):
        flag, _, value = argument.partition("=")
        value = value or (argv[k + 1] if k + 1 < len(argv) else "")
        if flag == "--config" and Path(value).is_file():
            method = _method_in_file(Path(value)) or method
    for k, argument in enumerate(argv):
        flag, _, value = argument.partition("=")
        if flag == "--credit.method":
            method = value or (argv[k + 1] if k + 1 < len(argv) else "")
    return method


def _method_in_file(path: Path) -> str | None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None  # the parser itself reports the broken file
    section = content.get("credit") if isinstance(content, dict) else None
    return section.get("method") if isinstance(section, dict) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    method = credit_method(arguments)
    if method not in credit.names():
        return _complain(f"credit.method: got {method!r}, allowed: {', '.join(credit.names())}")
    parser = build_parser(method)
    settings = parser.parse_args(arguments)
    from stepopsd_agent import commands  # torch and transformers only once the arguments are known to be good

    chosen: Namespace = settings[settings.command]
    try:
        return int(commands.run(settings.command, chosen))
    except commands.BAD_INPUT as error:
        return _complain(str(error))
    except commands.Interrupted as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; files already written are kept", file=sys.stderr)
        return 1


def _complain(message: str) -> int:
    print(f"stepopsd: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
