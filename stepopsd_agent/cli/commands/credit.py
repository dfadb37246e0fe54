"""``stepopsd credit list``, ``stepopsd credit score`` and ``stepopsd credit compare``."""

import argparse
from collections.abc import Sequence
from dataclasses import fields

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.credit_compare import compare
from stepopsd_agent.cli.credit_score import score
from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.user_path import user_path

HELP = "list the credit methods, compute one on recorded episodes of any agent, or compare them there"
USES = frozenset("seed device threads env model rollout hindsight learner credit".split())


def add_flags(parser: Parser) -> None:
    """The action, the records and the groups."""
    absent = argparse.SUPPRESS
    parser.usage = "stepopsd credit {list,score,compare} [EPISODES] [--config FILE] [--SETTING VALUE ...]"
    parser.add_argument("action", choices=["list", "score", "compare"], help="what to do")
    parser.add_argument("episodes", nargs="?", help="folder of recorded episodes, or a run folder")
    parser.add_argument(
        "--group_by",
        choices=["recorded", "task"],
        default=absent,
        help="compare attempts that were played as a group (default), or all attempts at a task",
    )
    parser.add_argument("--out", type=str, default=absent, metavar="FILE", help="score: file to write to")
    parser.add_argument(
        "--method",
        type=str,
        nargs="+",
        default=absent,
        metavar="NAME",
        help="compare: only these; module:name for one outside the package, 'name field=value' for a variant",
    )
    parser.add_argument("--json", type=str, default=absent, metavar="OUT", help="compare: write the figures")
    parser.add_argument("--picture", type=str, default=absent, metavar="OUT", help="compare: draw them")
    parser.add_argument(
        "--replay",
        action="store_true",
        help="compare: play the recorded commands again where the records tell no distance to the goal",
    )


def prepare(arguments: Sequence[str]) -> Sequence[str]:
    """``score RUN`` and ``compare RUN`` read the run's own settings, unless a file is named."""
    if arguments[1:2] not in (["score"], ["compare"]) or arguments[2:3] == [] or arguments[2].startswith("-"):
        return arguments
    if any(argument.partition("=")[0] == "--config" for argument in arguments):
        return arguments
    folder = user_path(arguments[2])
    for of_run in (folder, folder.parent):  # the run, or its episodes
        if (of_run / "config.yaml").is_file() and (of_run / "episodes").is_dir():
            return ["credit", "--config", str(of_run / "config.yaml"), *arguments[1:]]
    return arguments


def run(settings: Namespace) -> int:
    """List the methods, or compute one, or many, on recorded episodes."""
    if settings.action == "list":
        print(listing())
        return 0
    if settings.get("episodes") is None:
        flag = " --credit.method NAME" if settings.action == "score" else ""
        if settings.get("method"):  # takes every word behind it, a folder as well
            flag = f" --method {' '.join(settings.method)}"
        command = f"credit {settings.action}"
        raise UsageError(f"{command} needs the episodes: stepopsd {command} FOLDER{flag}")
    return score(settings) if settings.action == "score" else compare(settings)


def listing() -> str:
    """Every method with its paper, what it needs beside the records, and its settings."""
    lines = []
    for name in credit.names():
        try:
            made = credit.make(name)
        except Exception as error:  # somebody's file: the other methods are listed all the same
            lines.append(f"{name}: cannot be loaded, {type(error).__name__}: {error}")
            continue
        summary = (type(made).__doc__ or "").partition("\n")[0]
        settings = ", ".join(f"{field.name}={getattr(made, field.name)}" for field in fields(type(made)))
        lines += [
            f"{name}: {summary}",
            f"    paper: {made.paper}",
            f"    needs: {', '.join(sorted(made.needs)) or 'nothing but the records'}",
            f"    settings: {settings or 'none'}",
        ]
    return "\n".join(lines)
