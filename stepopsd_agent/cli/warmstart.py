"""``stepopsd warmstart``."""

import argparse

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import checked_games, fresh_folder, settings_checked
from stepopsd_agent.cli.common import describe, load_run_policy, run_config
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.tasks import evaluation_sets, get

HELP = "clone an exploring expert into a model, so that training has something to improve"
USES = frozenset("seed device threads env model rollout eval hindsight warmstart".split())


def add_flags(parser: Parser) -> None:
    """The model folder to make."""
    parser.add_argument(
        "--out", type=str, default=argparse.SUPPRESS, metavar="FOLDER", help="folder to write to"
    )


def run(settings: Namespace) -> int:
    """Clone the expert and evaluate the result."""
    config = run_config(settings)
    out = fresh_folder(settings.get("out"), "warmstart")
    with checked_games(config.env, *(one.env for one in evaluation_sets(config))):
        from stepopsd_agent.run import warmstart

        # Loaded first: a model that cannot be loaded is reported before the expert plays for minutes.
        policy = None if config.model.path == "tiny" else load_run_policy(config)
        with settings_checked():
            table = warmstart(config, policy, out)
    print(describe(table, f"{get(config.env.id).unit}s"))
    print(f"model folder: {out}; train it with: stepopsd train --model.path {out} --out RUN")
    return 0
