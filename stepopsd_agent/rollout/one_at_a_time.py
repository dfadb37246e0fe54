"""Play agents with ``reset`` and ``act``, one episode at a time, by the same loop as batch agents."""

from collections.abc import Callable, Sequence

import gymnasium as gym

from stepopsd_agent.rollout.failures import error_text
from stepopsd_agent.rollout.playing import Attempt, BatchAgent, OnEpisode, Response, Slot, play
from stepopsd_agent.tasks.agents import Agent, AgentError
from stepopsd_wrappers import Episode, recorder


class OneAtATime:
    """Wraps an `Agent` as a `BatchAgent` that plays one episode at a time.

    An exception of the agent ends the episode and is recorded as its error; so is a call of ``sys.exit``.
    """

    def __init__(self, agent: Agent) -> None:
        """Wrap the agent."""
        self._agent = agent
        self._broken: Response | None = None  # its reset raised

    def begin(self, place: int, slot: Slot) -> None:
        """Reset the agent.

        Raises:
            AgentError: it began another episode, or closed the environment.
        """
        if place:
            raise ValueError("an agent with reset and act plays one episode at a time; give one environment")
        _, error = _asked(slot, lambda: self._agent.reset(slot.attempt.seed, slot.observation, slot.info))
        self._broken = None if error is None else Response("", error=error)

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Ask the agent.

        Raises:
            AgentError: it played in the environment itself.
        """
        return [self._broken or self._ask(slot) for slot in slots]

    def _ask(self, slot: Slot) -> Response:
        text, error = _asked(slot, lambda: self._agent.act(slot.observation, slot.info))
        if error is None and not isinstance(text, str):
            error = f"TypeError: act returned {text!r:.80}; return the action as a str"
        return Response(text if isinstance(text, str) else "", error=error)

    def is_full(self, place: int, slot: Slot) -> bool:
        """Return False; an agent has no longest row."""
        return False

    def keep(self, places: Sequence[int]) -> None:
        """Do nothing; the agent keeps its own state."""


def _asked(slot: Slot, ask: Callable[[], object]) -> tuple[object, str | None]:
    """What a method of the agent returned, and what it raised instead, in words.

    Raises:
        AgentError: it played in the environment itself; what is recorded would not be what was to be played.
    """
    playing, reply, problem = recorder(slot.env).running, None, None
    try:
        reply = ask()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit, or a task of asyncio that was cancelled, ends no other episode
        problem = error_text(error)
    if recorder(slot.env).running != playing:
        raise AgentError(
            "the agent reset, stepped or closed the environment that it is playing in, so the record would "
            "not be of the task that was to be played: only return the action from act, and try things out "
            "in an environment of the agent's own"
        )
    return reply, problem


def play_agent(
    agent: Agent | BatchAgent,
    env: gym.Env[str, str],
    task_ids: Sequence[str],
    seed: int,
    on_episode: OnEpisode | None = None,
) -> list[Episode]:
    """Let an agent play the tasks once each and return the records.

    Args:
        agent: anything with ``reset`` and ``act``, or a `BatchAgent` such as the language model.
        env: a stack with `RecordEpisode`; without `TextHistory` for agents that read single observations.
        task_ids: tasks in order.
        seed: of the first episode; the k-th uses seed + k.
        on_episode: called with each record as it finishes.

    Raises:
        TypeError: the agent is a class, or lacks a method.
        AgentError: the agent reset, stepped or closed ``env`` itself.
    """
    if isinstance(agent, type) or not isinstance(agent, Agent | BatchAgent):
        raise TypeError(
            f"agent is {agent!r:.80}; give an object with reset and act, or a BatchAgent such as "
            "LanguageModel(policy, SamplingParams(), seed)"
        )
    player = agent if isinstance(agent, BatchAgent) else OneAtATime(agent)
    attempts = [Attempt(task_id, seed + k, group=k) for k, task_id in enumerate(task_ids)]
    return play(player, [env], attempts, on_episode=on_episode)
