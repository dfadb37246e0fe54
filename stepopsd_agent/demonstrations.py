"""Expert demonstrations for the warm start, with labels that know a peer's episode.

Every demonstration visits states of an expert that errs now and then. At each state two labels are noted:
what the exploring expert does next, and what the same expert does once it has read a successful attempt at
the same game. The second is what a hindsight teacher should say, so it is cloned behind a hindsight block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from stepopsd_agent.rollout import Task
from stepopsd_envs.alfworld.expert import ExploringExpert
from stepopsd_wrappers import Episode, recorder


@dataclass(frozen=True)
class Turn:
    """One state of a demonstration.

    Attributes:
        prompt: what the agent was shown.
        command: what was done.
        label: what the expert does here.
        informed: what the expert does here after reading the peer.
    """

    prompt: str
    command: str
    label: str
    informed: str


@dataclass(frozen=True)
class Demonstration:
    """One expert episode, turn by turn, with its record and that of a peer (None when the peer failed)."""

    turns: tuple[Turn, ...]
    episode: Episode
    peer: Episode | None


def texts(demonstrations: Sequence[Demonstration]) -> list[str]:
    """What a tokenizer for these demonstrations should know, in the pieces in which it will be encoded."""
    pieces = []
    for demonstration in demonstrations:
        shown = ""
        for turn in demonstration.turns:
            pieces += [turn.prompt.removeprefix(shown), turn.command]
            shown = turn.prompt + turn.command
    return pieces


def raw(info: dict[str, object], transcript: str) -> str:
    """The latest observation itself, cut out of the transcript."""
    step = info["step"]
    assert isinstance(step, dict)
    return transcript[step["observation_start"] : step["observation_end"]]


def play_expert(
    env: gym.Env[str, str], task: Task, peer: Episode | None, mistake_rate: float
) -> Demonstration:
    """Play one game with the expert and note both labels at every state.

    Args:
        env: a stack from ``make_text_env``.
        task: which game; its seed also draws the mistakes.
        peer: a record of the same game that the informed expert may read.
        mistake_rate: share of commands replaced by a mistake.
    """
    recorder(env).identify(run="warmstart", update=0, group=task.group, member=task.member)
    prompt, info = env.reset(seed=task.seed, options={"game": task.task_id})
    text = raw(info, env.unwrapped.transcript)  # type: ignore[attr-defined]
    acting = ExploringExpert(np.random.default_rng([task.seed, task.member]), mistake_rate)
    clean, informed = (ExploringExpert(np.random.default_rng(0)) for _ in range(2))
    for expert in (acting, clean, informed):
        expert.reset(text)
    if peer is not None:
        informed.learn([(step.action, step.observation) for step in peer.steps[1:]])
    turns, over = [], False
    while not over:
        command = acting.act()
        turns.append(Turn(prompt, command, clean.act(), informed.act()))
        prompt, _, terminated, truncated, info = env.step(command)
        text = raw(info, env.unwrapped.transcript)  # type: ignore[attr-defined]
        for expert in (acting, clean, informed):
            expert.see(command, text)
        over = bool(terminated or truncated)
    episode = recorder(env).last_episode
    assert episode is not None  # the recorder closes an episode when it ends
    return Demonstration(tuple(turns), episode, peer)


def demonstrate(
    env: gym.Env[str, str],
    task_ids: Sequence[str],
    mistake_rate: float,
    seed: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Demonstration]:
    """One demonstration per game; its peer is a first, flawless attempt at the same game."""
    out = []
    for k, task_id in enumerate(task_ids):
        first = play_expert(env, Task(task_id, seed + k, k, 0), None, 0.0).episode
        out.append(
            play_expert(env, Task(task_id, seed + k, k, 1), first if first.success else None, mistake_rate)
        )
        on_done()
    return out
