"""Play agents with ``reset`` and ``act``, one episode at a time, by the same loop as batch agents."""

from collections.abc import Sequence

import gymnasium as gym

from stepopsd_agent.rollout.failures import error_text
from stepopsd_agent.rollout.playing import Attempt, BatchAgent, OnEpisode, Response, Slot, play
from stepopsd_agent.tasks.agents import Agent
from stepopsd_wrappers import Episode


class OneAtATime:
    """Wraps an `Agent` as a `BatchAgent` that plays one episode at a time.

    An exception of the agent ends the episode and is recorded as its error; so is a call of ``sys.exit``.
    """

    def __init__(self, agent: Agent) -> None:
        """Wrap the agent."""
        self._agent = agent
        self._broken: Response | None = None  # its reset raised

    def begin(self, place: int, slot: Slot) -> None:
        """Reset the agent."""
        if place:
            raise ValueError("an agent with reset and act plays one episode at a time; give one environment")
        self._broken = None
        try:
            self._agent.reset(slot.attempt.seed, slot.observation, slot.info)
        except (Exception, SystemExit) as error:  # sys.exit is to end no other episode
            self._broken = Response("", error=error_text(error))

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Ask the agent."""
        return [self._broken or self._ask(slot) for slot in slots]

    def _ask(self, slot: Slot) -> Response:
        try:
            text: object = self._agent.act(slot.observation, slot.info)
        except (Exception, SystemExit) as error:
            return Response("", error=error_text(error))
        if isinstance(text, str):
            return Response(text)
        return Response("", error=f"TypeError: act returned {text!r:.80}; return the action as a str")

    def is_full(self, place: int, slot: Slot) -> bool:
        """Return False; an agent has no longest row."""
        return False

    def keep(self, places: Sequence[int]) -> None:
        """Do nothing; the agent keeps its own state."""


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
    """
    if isinstance(agent, type) or not isinstance(agent, Agent | BatchAgent):
        raise TypeError(
            f"agent is {agent!r:.80}; give an object with reset and act, or a BatchAgent such as "
            "LanguageModel(policy, SamplingParams(), seed)"
        )
    player = agent if isinstance(agent, BatchAgent) else OneAtATime(agent)
    attempts = [Attempt(task_id, seed + k, group=k) for k, task_id in enumerate(task_ids)]
    return play(player, [env], attempts, on_episode=on_episode)
