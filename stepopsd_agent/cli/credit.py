"""``stepopsd credit list`` and ``stepopsd credit score``."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder, run_config, trained_policy
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import read_episodes

HELP = "list the credit methods with their papers, or compute one on recorded episodes of any agent"
USES = frozenset("seed device threads env model rollout hindsight learner credit".split())
IN_TRAINING = frozenset({"value", "mc_value", "ref_logprobs"})
"""Columns that take a trained critic, the policy that acted or the weights before training, and so a run."""


def add_flags(parser: Parser) -> None:
    """The action, the records and the groups."""
    absent = argparse.SUPPRESS
    parser.usage = "stepopsd credit {list,score} [EPISODES] [--config FILE] [--SETTING VALUE ...]"
    parser.add_argument("action", choices=["list", "score"], help="what to do")
    parser.add_argument("episodes", nargs="?", help="folder of recorded episodes, or a run folder")
    parser.add_argument(
        "--group_by",
        choices=["recorded", "task"],
        default=absent,
        help="compare attempts that were played as a group (default), or all attempts at a task",
    )
    parser.add_argument("--out", type=str, default=absent, metavar="FILE", help="file to write to")


def run(settings: Namespace) -> int:
    """List the methods, or compute one on recorded episodes."""
    if settings.action == "list":
        print(listing())
        return 0
    if settings.get("episodes") is None:
        raise UsageError("credit score needs the episodes: stepopsd credit score FOLDER --credit.method NAME")
    return _score(settings)


def _score(settings: Namespace) -> int:
    """Compute a method on recorded episodes and write the credit of every step."""
    from stepopsd_agent.learner import recorded_columns
    from stepopsd_agent.run import score_records

    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
        if missing := sorted(method.needs & IN_TRAINING):
            raise ValueError(
                f"credit method {name!r} needs {', '.join(missing)}, which only a run can compute: "
                f"stepopsd train --credit.method {name}"
            )
    folder = episode_folder(settings.episodes)
    episodes = list(read_episodes(folder))
    valid = [episode for episode in episodes if not episode.failed]
    if not valid:
        raise UsageError(f"{folder} holds no episode that ended without an error: there is nothing to score")
    out = _target(settings, folder, name)
    policy = trained_policy(config) if method.needs - recorded_columns() else None
    with settings_checked():
        scored = score_records(
            valid, config, method, {"name": name, **chosen}, policy, settings.get("group_by", "recorded")
        )
    lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in scored.records)
    write_bytes_atomic(out, lines.encode())
    steps = [step for record in scored.records for step in record["steps"]]
    failed = len(episodes) - len(valid)
    left = f"; {failed} that met an error are left out" if failed else ""
    credited = sum(any(step["tokens"]) for step in steps)
    print(f"{name}: {len(scored.records)} episodes, {len(steps)} steps, {credited} of them with credit{left}")
    if scored.terms:
        names = ", ".join(scored.terms)
        print(f"its further loss ({names}) is learned from in a run alone, and no part of the file")
    if scored.alone:
        print(
            f"{scored.alone} episodes are alone in their group, but most methods compare members of a group: "
            "--group_by task puts all attempts at a task in one"
        )
    print(f"written to {out}")
    return 0


def _target(settings: Namespace, episodes: Path, method: str) -> Path:
    """The file to write: the one that is named, else one beside the episodes; none is written over."""
    beside = episodes if episodes.is_dir() else episodes.parent
    named = "out" in settings
    out = user_path(settings.out) if named else beside / f"credit-{method.rpartition(':')[2]}.jsonl"
    if out.exists():
        raise UsageError(f"{out} is there already; name another file with --out FILE, or remove it")
    return out


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
