"""``stepopsd record``."""

import argparse

from jsonargparse import Namespace

from stepopsd_agent.cli.basic import OF_TRAINING
from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.common import run_config
from stepopsd_agent.cli.output_paths import fresh_folder
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.cli.playing import add_agent_flag, last_error, play_sets
from stepopsd_agent.cli.serving import REQUESTS
from stepopsd_agent.tasks import EvalSet
from stepopsd_envs.user_path import typed

HELP = "play tasks and keep the step-annotated episodes"
USES = frozenset("seed device threads env model rollout eval.temperature openai".split())
IGNORES = OF_TRAINING


def add_flags(parser: Parser) -> None:
    """The agent, how much it plays, and where records go."""
    absent = argparse.SUPPRESS
    parser.add_argument("--out", type=str, default=absent, metavar="FOLDER", help="folder to write to")
    add_agent_flag(parser)
    parser.add_argument("--episodes", type=int, default=absent, help="how many to record (default: 10)")


def run(settings: Namespace) -> int:
    """Record episodes of the tasks in ``env``."""
    config = run_config(settings)
    out, count = fresh_folder(settings.get("out"), "record"), settings.get("episodes", 10)
    if count < 1:
        raise UsageError(f"episodes is {count}; give the number of episodes to record, 1 or more")
    agent = settings.get("agent", "model")
    (episodes,) = play_sets(
        agent, config, [EvalSet("", config.env, count)], config.seed, out, requests=out / REQUESTS
    )
    won = sum(episode.success for episode in episodes)
    failed = sum(episode.failed for episode in episodes)
    errors = f", {failed} ended in an error" if failed else ""
    module = config.env.id.rpartition(":")[0]
    check = f"stepopsd replay {typed(out)}" + (f" --module {module}" if module else "")
    print(f"{count} episodes, {won} won{errors}, in {out}; check them with: {check}")
    if failed:
        print(last_error(episodes))
    return 0
