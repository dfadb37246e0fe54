"""Expert demonstrations for the warm start, with labels that know a peer's episode.

Every demonstration visits states of an expert that errs now and then. At each state two labels are noted:
what the exploring expert does next, and what the same expert does once it has read a successful attempt at
the same game. The second is what a hindsight teacher should say, so it is cloned behind a hindsight block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from stepopsd_agent.rollout.failures import Failures, reset_failed
from stepopsd_agent.rollout.playing import Attempt, begin
from stepopsd_agent.tasks import spec_of
from stepopsd_agent.tasks.agents import Expert
from stepopsd_wrappers import Episode, ParseResponse, find_wrapper, recorder
from stepopsd_wrappers.parse_response import ResponseFormat
from stepopsd_wrappers.record_episode import step_recorded


@dataclass(frozen=True)
class Turn:
    """One state of a demonstration.

    Attributes:
        prompt: what the agent was shown.
        command: the response that was given.
        label: what the expert answers here.
        informed: what the expert answers here after reading the peer.
    """

    prompt: str
    command: str
    label: str
    informed: str


@dataclass(frozen=True)
class Demonstration:
    """One expert episode.

    Attributes:
        turns: its states in order.
        episode: its own record.
        peer: record of an earlier success at the same game; None when that attempt failed.
        informed: the acting expert had read the peer.
    """

    turns: tuple[Turn, ...]
    episode: Episode
    peer: Episode | None
    informed: bool


def pieces(demonstrations: Sequence[Demonstration]) -> list[str]:
    """The texts of these demonstrations, in the pieces in which they will be encoded."""
    parts = []
    for demonstration in demonstrations:
        shown = ""
        for turn in demonstration.turns:
            parts += [turn.prompt.removeprefix(shown), turn.command]
            shown = turn.prompt + turn.command
    return parts


def raw(info: dict[str, object], transcript: str) -> str:
    """The latest observation itself, cut out of the transcript."""
    step = info["step"]
    assert isinstance(step, dict)
    return transcript[step["observation_start"] : step["observation_end"]]


def say(expert: Expert, command: str, response_format: ResponseFormat) -> str:
    """The response of an expert: the bare command, or with its thought before it, if it has one."""
    if response_format == "plain":
        return command
    action = f"<action>{command}</action>" if response_format == "tags" else command
    thought = expert.thought()
    return f"<think>{thought}</think>{action}" if thought else action


def play_expert(
    env: gym.Env[str, str],
    attempt: Attempt,
    mistake_rate: float,
    *,
    peer: Episode | None = None,
    informed: bool = False,
) -> Demonstration:
    """Play one task with the environment's expert and note both labels at every state.

    Args:
        env: a stack from ``make_text_env``.
        attempt: the attempt to play; its seed also draws the mistakes.
        mistake_rate: share of commands replaced by a mistake.
        peer: a record of the same task that the informed expert may read.
        informed: let the informed expert act; otherwise it only labels.

    Raises:
        ValueError: the environment's task spec names no expert.
    """
    try:
        prompt, info = begin(env, attempt, run="warmstart")
    except Exception as error:
        if not reset_failed(env, attempt.task_id, error):
            raise
        return Demonstration((), _latest(env), peer, informed)
    text = raw(info, env.get_wrapper_attr("transcript"))
    expert_of = spec_of(env).expert
    if expert_of is None:
        raise ValueError(f"{env.unwrapped} has no expert to demonstrate it: name one in its TaskSpec")
    make = expert_of(env)
    acting = make(np.random.default_rng([attempt.seed, attempt.member]), mistake_rate)
    clean, knowing = (make(np.random.default_rng(0), 0.0) for _ in range(2))
    for expert in (acting, clean, knowing):
        expert.reset(text, info)
    if peer is not None:
        for expert in (knowing, acting) if informed else (knowing,):
            expert.learn(peer)
    parser = find_wrapper(env, ParseResponse)
    response_format = "plain" if parser is None else parser.format
    turns, over = [], False
    while not over:
        command = acting.act()
        response = say(acting, command, response_format)
        labels = [say(expert, expert.act(), response_format) for expert in (clean, knowing)]
        turns.append(Turn(prompt, response, *labels))
        result = step_recorded(env, response)
        if result is None:
            break
        prompt, _, terminated, truncated, info = result
        text = raw(info, env.get_wrapper_attr("transcript"))
        for expert in (acting, clean, knowing):
            expert.see(command, text, info)
        over = bool(terminated or truncated)
    return Demonstration(tuple(turns), _latest(env), peer, informed)


def _latest(env: gym.Env[str, str]) -> Episode:
    episode = recorder(env).last_episode
    assert episode is not None  # the recorder closes an episode when it ends
    return episode


def demonstrate(
    env: gym.Env[str, str],
    task_ids: Sequence[str],
    mistake_rate: float,
    seed: int,
    *,
    peers: bool = True,
    informed_share: float = 0.0,
    on_done: Callable[[], None] = lambda: None,
) -> list[Demonstration]:
    """One demonstration per task; its peer is a first, flawless attempt at the same task.

    One that an error of the environment ended is left out.

    Args:
        env: a stack from ``make_text_env``.
        task_ids: tasks in order.
        mistake_rate: share of commands replaced by a mistake.
        seed: of the first task; the k-th uses seed + k.
        peers: give every demonstration a peer, which costs a second episode; informed ones have theirs in any
            case.
        informed_share: share of the tasks, evenly spread, that an informed expert plays as well.
        on_done: called after each task (progress bars).

    Raises:
        EnvironmentDownError: the environment failed again and again.
    """
    out, failures = [], Failures()
    for k, task_id in enumerate(task_ids):
        informed = int((k + 1) * informed_share) > int(k * informed_share)
        first = play_expert(env, Attempt(task_id, seed + k, k, 0), 0.0).episode if peers or informed else None
        peer = first if first is not None and first.success else None
        played = [play_expert(env, Attempt(task_id, seed + k, k, 1), mistake_rate, peer=peer)]
        if informed:
            attempt = Attempt(task_id, seed + k, k, 2)
            played.append(play_expert(env, attempt, mistake_rate, peer=peer, informed=True))
        for episode in played:
            failures.note(episode.episode)
            if not episode.episode.failed:
                out.append(episode)
        on_done()
    return out
