"""The one road from agents to records: `play` lets any agent play attempts in several environments at once.

The record that `RecordEpisode` makes is all that leaves: evaluation counts it, the learner trains on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym

from stepopsd_agent.rollout.failures import misfit, reset_failed
from stepopsd_wrappers import Episode, PromptSnapshot, StepTokens, recorder
from stepopsd_wrappers.parse_response import prepare_steps
from stepopsd_wrappers.record_episode import step_recorded
from stepopsd_wrappers.text_history import text_history

OnEpisode = Callable[[Episode], None]


@dataclass(frozen=True)
class Attempt:
    """One episode to be played.

    Attributes:
        task_id: the task.
        seed: of the reset; sampling noise depends on it, too.
        group: number of the group of attempts at one task that are compared with each other.
        member: number of the attempt in its group.
        snapshot: where the attempt begins; None at the beginning of the task.
        row: ids that the first response continues, for an attempt that begins at a snapshot.
    """

    task_id: str
    seed: int
    group: int = 0
    member: int = 0
    snapshot: PromptSnapshot | None = None
    row: tuple[int, ...] = ()


@dataclass(frozen=True)
class Response:
    """An agent's answer to an observation.

    Attributes:
        text: the answer.
        tokens: as sampled, where a language model answered.
        error: what the agent raised instead of answering; the episode ends, and is recorded as failed.
    """

    text: str
    tokens: StepTokens | None = None
    error: str | None = None


LATER = Response("")
"""In place of an answer: it is not there yet, and `act` is called again; an agent gives one at least."""


@dataclass
class Slot:
    """One running episode.

    Attributes:
        env: a stack with `RecordEpisode` in it.
        number: place of the attempt among those that are played.
        attempt: the attempt being played.
        observation: the latest one; a prompt where the stack makes prompts.
        info: that came with it.
        turn: number of responses so far.
    """

    env: gym.Env[str, str]
    number: int
    attempt: Attempt
    observation: str
    info: dict[str, Any]
    turn: int = 0


@runtime_checkable
class BatchAgent(Protocol):
    """Plays several episodes side by side, one in each place; `OneAtATime` makes one of an `Agent`."""

    def begin(self, place: int, slot: Slot) -> None:
        """A new episode begins in this place."""

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Answer the latest observation of every place, or give `LATER` where the answer takes longer."""
        ...

    def is_full(self, place: int, slot: Slot) -> bool:
        """Whether the agent cannot go on with this episode, which is then closed as truncated."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Only these places remain, renumbered in this order; none once `play` ends."""


def play(
    agent: BatchAgent,
    envs: Sequence[gym.Env[str, str]],
    attempts: Sequence[Attempt],
    *,
    run: str = "",
    update: int = 0,
    on_episode: OnEpisode | None = None,
    finished: dict[int, Episode] | None = None,
) -> list[Episode]:
    """Play every attempt once and return the records in the order of ``attempts``.

    Args:
        agent: who acts.
        envs: stacks with `RecordEpisode`; a stack whose episode is over takes the next attempt at once.
        attempts: the attempts to play.
        run: run name for the records.
        update: update number for the records.
        on_episode: called with each record as it finishes (progress bars).
        finished: filled with the records by number of the attempt, for a caller that goes on after an error.

    Returns:
        One episode per attempt; an error of the environment, or in a `Response`, stands in its last step.

    Raises:
        ValueError: there is no environment, or one twice; or the agent gives no response for a place.
    """
    different = len({id(env.unwrapped) for env in envs})  # the same one may be inside two stacks
    if attempts and (not envs or different < len(envs)):
        raise ValueError(f"envs lists {len(envs)} environments, {different} distinct; give some, each once")
    queue = list(enumerate(attempts))[::-1]
    done: dict[int, Episode] = {} if finished is None else finished

    def finish(number: int, env: gym.Env[str, str]) -> None:
        done[number] = _finish(env)
        if on_episode:
            on_episode(done[number])

    start = partial(_start, agent, queue, finish, (run, update))
    try:
        slots = [slot for place, env in enumerate(envs[: len(queue)]) for slot in start(place, env)]
        while slots:
            kept = _turn(agent, slots, finish, start)
            if len(kept) < len(slots):
                slots = [slots[place] for place in kept]
                agent.keep(kept)
    finally:
        agent.keep([])  # so that the agent can play again, whatever ended this
    return [done[number] for number in range(len(attempts))]


def _turn(
    agent: BatchAgent,
    slots: list[Slot],
    finish: Callable[[int, gym.Env[str, str]], None],
    start: Callable[[int, gym.Env[str, str]], list[Slot]],
) -> list[int]:
    """Give the agent's responses to the environments; return the places that go on, some with a new slot."""
    responses = agent.act(slots)
    if [isinstance(reply.text, str) for reply in responses] != [True] * len(slots):
        raise misfit([reply.text for reply in responses], len(slots))  # before any environment is stepped
    turns, kept = list(zip(slots, responses, strict=True)), []
    prepare_steps((slot.env, r.text) for slot, r in turns if r.error is None and r is not LATER)
    for place, (slot, response) in enumerate(turns):
        if response is not LATER and (_respond(slot, response) or agent.is_full(place, slot)):
            finish(slot.number, slot.env)
            begun = start(place, slot.env)
            if not begun:
                continue
            slots[place] = begun[0]
        kept.append(place)
    return kept


def begin(
    env: gym.Env[str, str], attempt: Attempt, run: str = "", update: int = 0
) -> tuple[str, dict[str, Any]]:
    """Reset a recorded environment to an attempt's task; the record gets the attempt's identity.

    Raises:
        ValueError: the environment began another task.
    """
    recorder(env).identify(run=run, update=update, group=attempt.group, member=attempt.member)
    option = env.get_wrapper_attr("task_option")
    observation, info = env.reset(seed=attempt.seed, options={option: attempt.task_id})
    if info.get("task_id") != attempt.task_id:
        raise ValueError(
            f"{env.unwrapped} began task {info.get('task_id')!r}, not {attempt.task_id!r}: "
            f"its reset must read options[{option!r}] and give the task's id as info['task_id']"
        )
    return observation, info


def _start(
    agent: BatchAgent,
    queue: list[tuple[int, Attempt]],
    failed: Callable[[int, gym.Env[str, str]], None],
    identity: tuple[str, int],
    place: int,
    env: gym.Env[str, str],
) -> list[Slot]:
    """The next attempt that begins; none, if no other is left than those whose reset raises."""
    while queue:
        number, attempt = queue.pop()
        try:
            slot = _begun(env, number, attempt, *identity)
            agent.begin(place, slot)
            return [slot]
        except Exception as error:
            if not reset_failed(env, attempt.task_id, error):
                raise
            failed(number, env)
    return []


def _begun(env: gym.Env[str, str], number: int, attempt: Attempt, run: str, update: int) -> Slot:
    """A slot at the beginning of its attempt."""
    if attempt.snapshot is None:
        return Slot(env, number, attempt, *begin(env, attempt, run, update))
    if attempt.snapshot.episode.steps[0].info.get("task_id") != attempt.task_id:
        raise ValueError(f"an attempt at {attempt.task_id!r} has a snapshot of another task")
    recorder(env).identify(run=run, update=update, group=attempt.group, member=attempt.member)
    prompt = text_history(env).restore(attempt.snapshot)
    before = attempt.snapshot.episode.steps
    return Slot(env, number, attempt, prompt, before[-1].info, turn=len(before) - 1)


def _respond(slot: Slot, response: Response) -> bool:
    """Give a response to the environment; True when the episode is over."""
    if response.error is not None:
        recorder(slot.env).fail(response.error)
        return True
    if response.tokens is not None:
        recorder(slot.env).annotate(response.tokens)
    slot.turn += 1
    result = step_recorded(slot.env, response.text)
    if result is None:
        return True
    slot.observation, _, terminated, truncated, slot.info = result
    return bool(terminated or truncated)


def _finish(env: gym.Env[str, str]) -> Episode:
    """The record of the latest episode; one that is still running is closed as truncated."""
    record = recorder(env)
    record.close_episode()
    assert record.last_episode is not None  # the agent has acted, or the reset raised
    return record.last_episode
