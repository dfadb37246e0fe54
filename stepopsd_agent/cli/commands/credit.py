"""``stepopsd credit list``, ``score`` and ``compare``: the methods, their credit, and who is right."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder, run_config, trained_policy
from stepopsd_agent.cli.output_paths import fresh_file
from stepopsd_agent.cli.parser import Parser, complain
from stepopsd_agent.run.files import check_can_make, write_bytes_atomic, write_json_atomic
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import Episode, read_episodes

HELP = "list the credit methods, compute one on recorded episodes of any agent, or compare them there"
USES = frozenset("seed device threads env model rollout hindsight learner credit".split())
IGNORES = frozenset({"rollout.group_size", "learner.lr"})
"""The records have their groups, of which `compare` puts `rollout.tasks` in a batch; nothing is learned."""
SCHEMA = "stepopsd.credit-accuracy/1"
READS = {
    "list": [],
    "score": ["--group_by", "--out", "--credit.method"],
    "compare": ["--group_by", "--method", "--json", "--picture", "--replay"],
}
"""The flags of each action, beside the settings."""
MEASURES = (
    "auc_failed",
    "auc_won",
    "auc_unmixed",
    "auc_all_failed",
    "auc_harmful",
    "pushed_down",
    "pushed_up",
)
LEGEND = """AUC: chance that a step which brings the goal nearer has more credit than another step of its
episode; 0.5 is chance. lost, won: in groups with both outcomes; unmixed: in the others; all lost: in lost
episodes of all groups. harm: chance that a step away from the goal has less credit than another.
pushed down: share of forward steps with negative credit; pushed up: share of harmful steps with positive
credit. [controls] need no idea of credit. In brackets: intervals of 95 % over tasks."""


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
        help="groups: as played (default), or all attempts at a task",
    )
    parser.add_argument("--out", type=str, default=absent, metavar="FILE", help="score: file to write to")
    parser.add_argument(
        "--method",
        type=str,
        nargs="+",
        default=absent,
        metavar="NAME",
        help="compare: only these, as name, 'name field=value' or module:name",
    )
    parser.add_argument("--json", type=str, default=absent, metavar="OUT", help="compare: write the figures")
    parser.add_argument("--picture", type=str, default=absent, metavar="OUT", help="compare: draw them")
    parser.add_argument(
        "--replay",
        action="store_true",
        help="compare: play the commands again where the records tell no distance to the goal",
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


def complete(
    settings: Namespace, arguments: Sequence[str], parse: Callable[[Sequence[str]], Namespace]
) -> Namespace:
    """Refuse a flag of another action, which would change nothing."""
    action, flags = settings.action, [argument.partition("=")[0] for argument in arguments]
    own = {flag for of_action in READS.values() for flag in of_action}
    for flag in flags:
        name = "--credit.method" if flag.startswith("--credit.") else flag
        if name in own and name not in READS[action]:
            has = f"it has {', '.join(READS[action])}" if READS[action] else "it takes nothing"
            raise SystemExit(complain(f"credit {action} does not read {flag}; {has}"))
    if action == "list" and settings.get("episodes") is not None:
        raise SystemExit(complain(f"credit list takes no folder, and got {settings.episodes}"))
    return settings


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


def score(settings: Namespace) -> int:
    """Compute a method on recorded episodes and write the credit of every step."""
    from stepopsd_agent.learner import recorded_columns
    from stepopsd_agent.run import IN_TRAINING, score_records

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
    folder = episodes if episodes.is_dir() else episodes.parent
    beside = folder / f"credit-{method.rpartition(':')[2]}.jsonl"
    out = user_path(settings.out) if "out" in settings else beside
    if out.exists():
        raise UsageError(f"{out} is there already; name another file with --out FILE, or remove it")
    check_can_make(out)
    return out


def compare(settings: Namespace) -> int:
    """Judge methods and controls on recorded episodes; print the table."""
    from stepopsd_agent.accuracy import SKIPPED, draw_accuracy, entries, heading, table_text
    from stepopsd_agent.run import compare_records, environment_facts, progress

    config = run_config(settings)
    json_file, picture = (
        fresh_file(settings[name], f"--{name}") if name in settings else None for name in ("json", "picture")
    )
    named, by = settings.get("method"), settings.get("group_by", "recorded")
    with settings_checked():
        for entry in (methods := entries(named)):
            entry.make()
    folder = episode_folder(settings.episodes)
    episodes = list(read_episodes(folder))
    valid = [episode for episode in episodes if not episode.failed]
    if not valid:
        raise UsageError(f"{folder} holds no episode that ended without an error: there is nothing to judge")
    valid = _with_distances(valid, replay=settings.get("replay", False))
    policy = None if config.model.path == "tiny" else trained_policy(config)
    with settings_checked(), progress(len(methods), "judging", unit="method") as bar:
        table = compare_records(valid, config, methods, policy, by, lambda name: bar.advance(note=name))
    if named is not None and not table["methods"]:
        raise UsageError("; ".join(f"{name}: {why}" for name, why in table["left_out"].items()))
    if named is None:
        table["left_out"] |= SKIPPED
    print(heading(table, len(episodes) - len(valid)))
    judged = [*table["controls"].values(), *table["methods"].values()]
    shown = [name for name in MEASURES if any(one[name]["n"] for one in judged)]
    print(f"\n{table_text(table, shown)}\n\n{LEGEND}")
    for name, why in table["left_out"].items():
        print(f"left out: {name}: {why}")
    if json_file is not None:
        content = {"schema": SCHEMA, "group_by": by, **table, **environment_facts()}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(json_file, content)
        print(f"written to {json_file}")
    if picture is not None:
        name = user_path(settings.episodes).name
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(picture, draw_accuracy({name: table}, f"Credit accuracy, {name}"))
        print(f"drawn to {picture}")
    return 0


def _with_distances(episodes: Sequence[Episode], *, replay: bool) -> list[Episode]:
    """The episodes with the distance to the goal of every step.

    Raises:
        UsageError: they do not tell it, and are not to be played again, or cannot be.
    """
    from stepopsd_agent.run import progress, tells_progress, with_distances

    untold = [episode for episode in episodes if not tells_progress(episode)]
    if not untold:
        return list(episodes)
    able = all(_has_oracle(episode) for episode in untold)
    if not (replay and able):
        advice = (
            "add --replay to play the recorded commands again for it, or record with --env.oracle true"
            if able
            else f"{untold[0].env_spec['id'] or 'the environment'} has no setting env.oracle; let it report "
            "the least number of actions to the goal as info['optimal_distance'], or judge methods on "
            "stepopsd/ALFWorld-v0"
        )
        raise UsageError(
            f"{len(untold)} of {len(episodes)} episodes tell no distance to the goal, which credit is judged "
            f"by: {advice}"
        )
    with settings_checked(), progress(len(untold), "replaying", unit="episode") as bar:
        return with_distances(episodes, bar.advance)


def _has_oracle(episode: Episode) -> bool:
    """Whether the environment of a record can be made so that it tells the distance to the goal."""
    from stepopsd_agent.tasks import constructor_settings, names

    env_id = episode.env_spec["id"]
    return "oracle" in episode.env_spec["kwargs"] or (
        env_id in names() and "oracle" in constructor_settings(env_id)
    )
