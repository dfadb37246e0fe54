"""``stepopsd eval``."""

import argparse
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import fresh_folder
from stepopsd_agent.cli.common import describe, run_config
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.cli.playing import add_agent_flag, play_sets
from stepopsd_agent.config import config_to_dict
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_agent.tasks import TaskSpec, evaluation_sets, get

HELP = "play the tasks of evaluation with a model or another agent; print success with intervals"
USES = frozenset("seed device threads env model rollout eval".split())


def add_flags(parser: Parser) -> None:
    """The agent, and where results go."""
    parser.add_argument(
        "--out", type=str, default=argparse.SUPPRESS, metavar="FOLDER", help="folder to write to"
    )
    add_agent_flag(parser)


def run(settings: Namespace) -> int:
    """Play the evaluation tasks and print the table."""
    from stepopsd_agent.rollout import EVAL_SEED, played_data, success_table, table_text

    config = run_config(settings)
    agent = settings.get("agent", "model")
    out = fresh_folder(settings.out, "eval") if "out" in settings else None
    sets, folder = evaluation_sets(config), None if out is None else out / "episodes"
    played = play_sets(agent, config, sets, EVAL_SEED, folder)
    spec = get(config.env.id)
    tables = {
        one.name: {**success_table(episodes, spec.measures), **played_data(episodes)}
        for one, episodes in zip(sets, played, strict=True)
    }
    episodes = [episode for one in played for episode in one]
    table = success_table(episodes, spec.measures)
    title, rows = ("set", tables) if len(sets) > 1 else ("task type", table["by_task_type"])
    print(table_text(title, {**rows, "all": table}, f"{spec.unit}s"))
    if len(sets) > 1:
        mean = sum(one["success"] for one in tables.values()) / len(tables)
        print(f"mean of the {len(tables)} sets: {mean:.1%}")
    print(f"{agent} agent: {_figures(table, spec)}")
    if table["errors"]:
        print(f"{table['errors']} more episodes ended in an error of the environment and are not counted")
    if out is not None:
        facts = {"config": config_to_dict(config), **played_data(episodes), **environment_facts()}
        content = {"schema": "stepopsd.evaluation/1", "agent": agent, **table, **facts}
        if len(sets) > 1:
            content["by_set"] = tables
        write_json_atomic(out / "evaluation.json", content)
        print(f"written to {out}: evaluation.json, episodes/")
    return 0


def _figures(table: dict[str, Any], spec: TaskSpec) -> str:
    """Success, steps, and what else the environment measures, in one line."""
    means = [f", {name} {mean:.2f}" for name, mean in table.get("means", {}).items()]
    return f"{describe(table, f'{spec.unit}s')}, {table['mean_steps']:.1f} steps{''.join(means)} in the mean"
