"""Playing sets of tasks with any agent, for the commands that do."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from stepopsd_agent.cli.checks import UsageError, checked_games
from stepopsd_agent.cli.common import trained_policy
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.config import RunConfig
from stepopsd_agent.rollout import Failures, play_agent
from stepopsd_agent.run import progress
from stepopsd_agent.tasks import EvalSet, get, make_plain_env, task_ids
from stepopsd_wrappers import Episode, EpisodeWriter


def add_agent_flag(parser: Parser) -> None:
    """Add ``--agent``."""
    parser.add_argument(
        "--agent",
        type=str,
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="who plays: model, random, expert, oracle, or another agent that the environment has "
        "(default: model)",
    )


def play_sets(
    name: str, config: RunConfig, sets: Sequence[EvalSet], seed: int, folder: Path | None
) -> list[list[Episode]]:
    """Let an agent play the first tasks of each set; every episode is on disk before the next one ends."""
    from stepopsd_agent.rollout import chosen_tasks, play_set

    agents, failures = get(config.env.id).players, Failures()
    counts = [one.count for one in sets]
    total = None if None in counts else sum(count or 0 for count in counts)
    if name != "model" and name not in agents:
        raise UsageError(f"agent is {name!r}; {config.env.id} has model, {', '.join(agents)}")
    with ExitStack() as stack:
        stack.enter_context(checked_games(*(one.env for one in sets)))
        policy = trained_policy(config) if name == "model" else None
        writer = None if folder is None else stack.enter_context(EpisodeWriter(folder))
        bar = stack.enter_context(progress(total, f"{name} agent playing", unit="episode"))

        def keep(episode: Episode) -> None:
            if writer is not None:
                writer.append(episode)
            failures.note(episode)
            bar.advance()

        def play(one: EvalSet) -> list[Episode]:
            if policy is not None:
                return play_set(policy, config, one, seed, keep)
            with closing(make_plain_env(one.env)) as env:
                return play_agent(agents[name](env), env, chosen_tasks(one, task_ids(env)), seed, keep)

        return [play(one) for one in sets]
