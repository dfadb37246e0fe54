"""``stepopsd eval``."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.basic import OF_TRAINING
from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import check_config, run_config
from stepopsd_agent.cli.output_paths import fresh_folder, only_writer, resumed_file
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.cli.playing import add_agent_flag, last_error, play_sets
from stepopsd_agent.cli.serving import REQUESTS, read_requests
from stepopsd_agent.config import RunConfig, config_from_dict, config_to_dict
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_agent.tasks import EvalSet, TaskSpec, env_section, evaluation_sets, get
from stepopsd_envs.user_path import typed, user_path
from stepopsd_wrappers import Episode, read_episodes

HELP = "play the tasks of evaluation with a model or another agent; print success with intervals"
USES = frozenset("device threads env model rollout eval openai".split())
IGNORES = OF_TRAINING | {"eval.every", "env.games", "env.num_games", "env.questions", "env.num_questions"}
"""``eval.games`` and its like say which tasks are played."""

FILE, SCHEMA = "evaluation.json", "stepopsd.evaluation/1"


@dataclass(frozen=True)
class _Request:
    """The agent, its requests, and the folder of the records."""

    agent: str
    config: RunConfig
    out: Path | None
    before: tuple[Episode, ...] = ()  # of an evaluation that was left


def add_flags(parser: Parser) -> None:
    """The agent, and where results go."""
    absent = argparse.SUPPRESS
    parser.add_argument("--out", type=str, default=absent, metavar="FOLDER", help="folder to write to")
    parser.add_argument(
        "--resume",
        type=str,
        default=absent,
        metavar="FOLDER",
        help="go on with the evaluation in this folder: play what it lacks and what ended in an error",
    )
    add_agent_flag(parser)


def prepare(arguments: Sequence[str]) -> Sequence[str]:
    """Tell who would repeat an evaluation by ``--seed`` how: it would be the same, to the last token."""
    flags = {argument.partition("=")[0] for argument in arguments}
    if "--seed" in flags and "--resume" not in flags:
        print(
            "stepopsd: notice: eval gives every agent the same noise, whatever --seed is; for several "
            "sampling seeds give --eval.seeds N",
            file=sys.stderr,
        )
    return arguments


def run(settings: Namespace) -> int:
    """Play the evaluation tasks and print the table."""
    with ExitStack() as writing:
        if "resume" not in settings:
            return _play(_asked(settings), writing, fresh=True)
        resumed_file(out := user_path(settings.resume), FILE, "eval")
        writing.enter_context(only_writer(out, "eval", fresh=False))
        return _play(_resumed(out), writing, fresh=False)


def _play(asked: _Request, writing: ExitStack, *, fresh: bool) -> int:
    """Play what is asked for; once all is checked, ``writing`` keeps others out of a fresh folder."""
    from stepopsd_agent.rollout import EVAL_SEED, EnvironmentDownError
    from stepopsd_agent.rollout.engines import EngineError

    out, sets = asked.out, evaluation_sets(asked.config)

    def checked() -> None:
        if out is not None:
            if fresh:
                writing.enter_context(only_writer(out, "eval", fresh=True))
            write_json_atomic(out / FILE, _header(asked))

    folder = None if out is None else out / "episodes"
    try:
        played = play_sets(
            asked.agent,
            asked.config,
            sets,
            EVAL_SEED,
            folder,
            before=asked.before,
            checked=checked,
            requests=None if out is None else out / REQUESTS,
        )
    except (EnvironmentDownError, EngineError, KeyboardInterrupt) as error:
        if out is None or not (out / FILE).exists():
            raise
        if isinstance(error, EngineError):
            raise EngineError(f"{error}; then go on with: stepopsd eval --resume {typed(out)}") from error
        stopped = isinstance(error, KeyboardInterrupt)
        problem = "stopped; what was written is kept: go on" if stopped else error
        print(f"stepopsd: {problem} with: stepopsd eval --resume {typed(out)}", file=sys.stderr)
        return 1
    _report(asked, sets, played)
    return 0 if any(not episode.failed for group in played for episode in group) else 1


def _asked(settings: Namespace) -> _Request:
    config = run_config(settings)
    _tell_other_data(config)
    out = fresh_folder(settings.out, "eval") if "out" in settings else None
    return _Request(settings.get("agent", "model"), config, out)


def _tell_other_data(config: RunConfig) -> None:
    """Say so where the data named for training is not what is played, since ``eval`` has its own setting."""
    for name in ("games", "questions"):
        trained, played = config.env.arguments.get(name), config.eval.arguments.get(name)
        default = getattr(env_section(config.env.id)(), name, None)
        if trained != default and played == default:
            print(
                f"stepopsd: notice: this plays eval.{name}, which is {played}, and not env.{name}, which "
                f"training plays; to play that here give --eval.{name} {trained}",
                file=sys.stderr,
            )


def _resumed(out: Path) -> _Request:
    """The settings of an earlier evaluation, and the records it left."""
    path = out / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema, agent, values = content["schema"], str(content["agent"]), dict(content["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not as eval wrote it ({error!r}); restore it from a copy, or begin a new evaluation"
        ) from error
    if schema != SCHEMA:
        raise UsageError(f"{path} has schema {schema!r}; this version reads {SCHEMA!r}")
    with settings_checked():
        config = config_from_dict(values)
    check_config(config)
    episodes = out / "episodes"
    before = read_episodes(episodes) if any(episodes.glob("*.jsonl*")) else ()
    return _Request(agent, config, out, tuple(before))


def _header(asked: _Request) -> dict[str, Any]:
    return {"schema": SCHEMA, "agent": asked.agent, "config": config_to_dict(asked.config)}


def _report(asked: _Request, sets: Sequence[EvalSet], played: Sequence[Sequence[Episode]]) -> None:
    """Print the tables; write them beside the episodes."""
    from stepopsd_agent.rollout import played_data, success_table, table_text

    spec = get(asked.config.env.id)
    tables = {
        split.name: {**success_table(episodes, spec.measures), **played_data(episodes)}
        for split, episodes in zip(sets, played, strict=True)
    }
    episodes = [episode for split in played for episode in split]
    table = success_table(episodes, spec.measures)
    if asked.out is not None:  # before anything is printed, as whoever reads it may leave
        content = {**_header(asked), **table, **played_data(episodes), **environment_facts()}
        if asked.agent == "openai":
            from stepopsd_agent.rollout import usage  # of a served model, which takes what models need

            content["usage"] = usage(read_requests(asked.out / REQUESTS))
        if len(sets) > 1:
            content["by_set"] = tables
        write_json_atomic(asked.out / FILE, content)
    title, rows = ("set", tables) if len(sets) > 1 else ("task type", table["by_task_type"])
    print(table_text(title, {**rows, "all": table}, f"{spec.unit}s"))
    if len(sets) > 1:
        print(_mean_of_sets(tables))
    print(f"{asked.agent} agent: {_figures(table, spec)}")
    if table["errors"]:
        again = (
            "" if asked.out is None else f"; play them again with: stepopsd eval --resume {typed(asked.out)}"
        )
        more = "more episodes" if table["n"] else "episodes"
        print(f"{table['errors']} {more} ended in an error and are not counted{again}")
        print(last_error(episodes))
    if asked.out is not None:
        print(f"written to {asked.out}: {FILE}, episodes/")


def _mean_of_sets(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The mean of the sets' success; a set whose every episode ended in an error has none."""
    rates = [table["success"] for table in tables.values() if table["n"]]
    if not rates:
        return "no set has an episode that counts"
    part = "" if len(rates) == len(tables) else f"{len(rates)} of "
    return f"mean of {part}the {len(tables)} sets: {sum(rates) / len(rates):.1%}"


def _figures(table: dict[str, Any], spec: TaskSpec) -> str:
    """Success, steps, and what else the environment measures, in one line."""
    from stepopsd_agent.rollout import describe

    if not table["n"]:
        return describe(table, f"{spec.unit}s")
    means = [f", {name} {mean:.2f}" for name, mean in table.get("means", {}).items()]
    return f"{describe(table, f'{spec.unit}s')}, {table['mean_steps']:.1f} steps{''.join(means)} in the mean"
