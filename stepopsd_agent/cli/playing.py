"""Play sets of tasks with any agent, for the commands that have ``--agent``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stepopsd_agent.cli.checks import UsageError, checked_games
from stepopsd_agent.cli.common import trained_policy
from stepopsd_agent.cli.human import HumanAgent, show_end
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.cli.serving import Asked, served_plays
from stepopsd_agent.config import RunConfig
from stepopsd_agent.rollout import Failures
from stepopsd_agent.run import PlainProgress, progress
from stepopsd_agent.tasks import EvalSet, episodes_of, get, make_plain_env, side_by_side
from stepopsd_agent.tasks.agents import MakeAgent, load_agent
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.rendering import printable
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import Episode, EpisodeWriter

if TYPE_CHECKING:
    from stepopsd_agent.models import Policy

HUMAN = "human"
PlaySet = Callable[[], list[Episode]]


def add_agent_flag(parser: Parser) -> None:
    """Add ``--agent``."""
    parser.add_argument(
        "--agent",
        type=str,
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="who plays: model, random, expert, oracle, sb3:FILE (trained with stable-baselines3), openai (a "
        "served model), human (you), your own as module:Class, or what else the environment has "
        "(default: model)",
    )


def play_sets(
    name: str,
    config: RunConfig,
    sets: Sequence[EvalSet],
    seed: int,
    folder: Path | None,
    *,
    before: Sequence[Episode] = (),
    checked: Callable[[], None] = lambda: None,
    requests: Path | None = None,
) -> list[list[Episode]]:
    """Let an agent play the first tasks of each set; every episode is on disk before the next one ends.

    Args:
        name: of the agent.
        config: the settings.
        sets: what to play.
        seed: of the first episode of each set.
        folder: where to record.
        before: records of an interrupted evaluation; their tasks are not played again.
        requests: file for a row about each request to a served model.
        checked: called once agent and tasks are there, before anything is written.
    """
    failures = Failures()
    with ExitStack() as stack:
        stack.enter_context(checked_games(*sets))
        total = sum(map(episodes_of, sets))

        def keep(episode: Episode) -> None:
            if writer is not None:
                writer.append(episode)
            if name == HUMAN:
                show_end(episode)
            failures.note(episode)
            bar.advance()

        plays = _plays(name, Asked(config, sets, seed, keep, before, requests, stack))
        checked()
        writer = None if folder is None else stack.enter_context(EpisodeWriter(folder))
        done = sum(not episode.failed for episode in before)
        title = f"{name} agent playing"
        slots = {"model": config.rollout.slots, "openai": config.openai.concurrency}.get(name, 1)
        at_once = side_by_side(sets, slots)
        bar = (
            PlainProgress(
                total, title, "episode", done, sys.stderr
            )  # a bar would be drawn over what is typed
            if name == HUMAN
            else stack.enter_context(progress(total, title, unit="episode", completed=done, at_once=at_once))
        )
        return [play() for play in plays]


def last_error(episodes: Sequence[Episode]) -> str:
    """The last of the errors that episodes ended in, of which there is one, and its task, in one line."""
    last = next(episode for episode in reversed(episodes) if episode.failed)
    return printable(
        f"the last of them, {last.task_id}: {str(last.steps[-1].error).strip().splitlines()[-1]}"
    )


def _plays(name: str, asked: Asked) -> list[PlaySet]:
    """Play each set with the agent of this name, made now."""
    config, how = asked.config, (asked.seed, asked.keep)
    if name == "model":
        from stepopsd_agent.rollout import play_set
        from stepopsd_agent.rollout.engines import opened_backend

        policy = trained_policy(config)
        asked.stack.callback(_tell_shortened, policy, config)
        backend = asked.stack.enter_context(opened_backend(config.rollout))
        return [
            partial(play_set, policy, config, evaluation, *how, backend, asked.before)
            for evaluation in asked.sets
        ]
    if name == "openai":
        return served_plays(asked)
    from stepopsd_agent.rollout import OneAtATime, play_set_with

    make = _maker(name, config)
    envs = [asked.stack.enter_context(closing(make_plain_env(evaluation.env))) for evaluation in asked.sets]
    agents = [OneAtATime(make(env)) for env in envs]
    return [
        partial(play_set_with, agent, [env], evaluation, *how, asked.before)
        for agent, env, evaluation in zip(agents, envs, asked.sets, strict=True)
    ]


def _tell_shortened(policy: "Policy", config: RunConfig) -> None:
    """Say how many prompts lost history: the model did not see what it seems to have seen."""
    if policy.play.shortened:
        print(
            f"stepopsd: notice: {policy.play.shortened} prompts had no room in rollout.max_row_tokens, which "
            f"is {config.rollout.max_row_tokens}, and lost their oldest history",
            file=sys.stderr,
        )


def _maker(name: str, config: RunConfig) -> MakeAgent:
    """Makes the agent of this name: one of the environment's, or the user's own."""
    if name == HUMAN:
        return lambda env: HumanAgent()
    players = get(config.env.id).players
    if name in players:
        return players[name]
    kind, colon, file = name.partition(":")
    if not colon and name.endswith(".py"):
        path = Path(name)
        raise UsageError(
            f"agent is {name!r}, a file; name its module and the class in it: begin the command with "
            f"PYTHONPATH={path.parent}, and give --agent {path.stem}:Class"
        )
    if not colon:
        raise UsageError(
            f"agent is {name!r}: {did_you_mean(name, ['model', *players, 'openai', HUMAN])}"
            f"{config.env.id} has model, {', '.join(players)}; others are openai, human, sb3:FILE and your "
            "own, module:Class"
        )
    if kind == "sb3":
        from stepopsd_agent.tasks.agents import SB3Agent

        return lambda env: SB3Agent(user_path(file), config.eval.temperature)
    return load_agent(name)
