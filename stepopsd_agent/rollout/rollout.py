"""Play episodes with a language model: many slots, one decoder, records out.

The record made by ``RecordEpisode`` is the only thing that leaves: evaluation counts it, the learner trains
on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np

from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.decoder import Decoder, Sampled
from stepopsd_agent.rollout.sampling import Drawing, noise
from stepopsd_wrappers import Episode, HeldPrompt, StepTokens, recorder
from stepopsd_wrappers.parse_response import ResponseFormat, parse_response
from stepopsd_wrappers.stack import text_history

Answer = tuple[str, SupportsFloat, bool, bool, dict[str, Any]]
"""What ``step`` returns."""


@dataclass(frozen=True)
class Task:
    """One attempt to make: which task, with which seed, as which member of which group.

    An attempt may go on from the middle of another one: `held` is the stack there, and `row` are the ids that
    the next response continues.
    """

    task_id: str
    seed: int
    group: int = 0
    member: int = 0
    held: HeldPrompt | None = None
    row: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        seed: names the noise; two rollouts with different seeds are independent.
        temperature: 0 takes the likeliest token.
        max_tokens: longest response.
        max_row_tokens: an episode whose row would outgrow this is closed as truncated.
        response: format of responses, to find the action inside them.
        top_k: as in `Drawing`.
        top_p: as in `Drawing`.
        stop: strings that end a response.
    """

    seed: str
    temperature: float
    max_tokens: int
    max_row_tokens: int
    response: ResponseFormat = "plain"
    top_k: int = 0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()

    @property
    def drawing(self) -> Drawing:
        """The distribution of tokens."""
        return Drawing(self.temperature, self.top_k, self.top_p)


class Backend(Protocol):
    """Who plays tasks: `rollout` in this process, or what takes and gives the same elsewhere."""

    def __call__(
        self,
        policy: Policy,
        form: PromptFormat,
        envs: Sequence[gym.Env[str, str]],
        tasks: Sequence[Task],
        sampling: Sampling,
        *,
        run: str = "",
        update: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Play every task once; see `rollout`."""
        ...


@dataclass
class _Slot:
    """One running episode and what its row of the decoder holds."""

    env: gym.Env[str, str]
    index: int
    task: Task
    prompt: str
    shown: str = ""  # prompt and response text already in the row
    closed: bool = True  # the last response ended with a stop token
    turn: int = 0
    added: list[int] = field(default_factory=list)
    new_row: bool = True


def begin(env: gym.Env[str, str], task: Task, run: str = "", update: int = 0) -> tuple[str, dict[str, Any]]:
    """Begin a task in a recorded environment, under its name in the records."""
    _identify(env, task, run, update)
    return env.reset(seed=task.seed, options={env.get_wrapper_attr("task_option"): task.task_id})


def _identify(env: gym.Env[str, str], task: Task, run: str, update: int) -> None:
    recorder(env).identify(run=run, update=update, group=task.group, member=task.member)


def attempt(env: gym.Env[str, str], action: str) -> Answer | None:
    """Step a recorded environment; None when it raised, which is then in the record, and others go on."""
    before = recorder(env).last_episode
    try:
        return env.step(action)
    except Exception:
        record = recorder(env).last_episode
        if record is None or record is before or record.steps[-1].error is None:
            raise  # not the environment's error: the recorder would have it
        return None


def rollout(
    policy: Policy,
    form: PromptFormat,
    envs: Sequence[gym.Env[str, str]],
    tasks: Sequence[Task],
    sampling: Sampling,
    *,
    run: str = "",
    update: int = 0,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play every task once and return the records in the order of ``tasks``.

    Args:
        policy: the acting model.
        form: how prompts become ids.
        envs: one stack from ``make_text_env`` per slot; a finished slot takes the next task at once.
        tasks: attempts to make.
        sampling: decoding settings.
        run: run name for the records.
        update: update number for the records.
        on_episode: called with each record as it finishes (progress bars).

    Returns:
        One episode per task; an episode that met an error carries it in its last step.
    """
    queue = list(enumerate(tasks))[::-1]
    done: dict[int, Episode] = {}

    def start(env: gym.Env[str, str]) -> _Slot:
        index, task = queue.pop()
        if task.held is None:
            return _Slot(env, index, task, begin(env, task, run, update)[0])
        _identify(env, task, run, update)
        prompt = text_history(env).go_on(task.held)
        return _Slot(env, index, task, prompt, turn=len(task.held.episode.steps) - 1)

    slots = [start(env) for env in envs[: len(queue)]]
    decoder = Decoder(
        policy, len(slots), sampling.drawing, max_tokens=sampling.max_tokens, stop=sampling.stop
    )
    while slots:
        _prepare(slots, decoder, form, sampling)
        responses = decoder.respond([s.added for s in slots], _uniforms(slots, sampling))
        lengths = decoder.lengths()
        kept = []
        for i, (slot, sampled) in enumerate(zip(slots, responses, strict=True)):
            room = sampling.max_row_tokens - lengths[i] - sampling.max_tokens
            if _act(slot, sampled, policy, sampling.response) or not _fits(slot, room, form):
                done[slot.index] = _finish(slot)
                if on_episode:
                    on_episode(done[slot.index])
                if not queue:
                    continue
                slots[i] = start(slot.env)
            kept.append(i)
        if len(kept) < len(slots):
            slots = [slots[i] for i in kept]
            decoder.keep(kept)
    return [done[i] for i in range(len(tasks))]


def _uniforms(slots: Sequence[_Slot], sampling: Sampling) -> np.ndarray:
    """[slots, max_tokens] noise; the episode's own seed is in the key, so a game played twice draws twice."""
    rows = []
    for slot in slots:
        key = f"{sampling.seed}/{slot.task.seed}"
        rows.append(noise(key, slot.task.task_id, slot.task.member, slot.turn, sampling.max_tokens))
    return np.stack(rows)


def _prepare(slots: Sequence[_Slot], decoder: Decoder, form: PromptFormat, sampling: Sampling) -> None:
    """Turn each slot's prompt into the ids to add: a prompt that extends what the row shows continues it."""
    for i, slot in enumerate(slots):
        slot.new_row = not slot.shown or not slot.prompt.startswith(slot.shown)
        if slot.new_row:
            decoder.restart(i)
            longest = sampling.max_row_tokens - sampling.max_tokens
            begun = () if slot.shown else slot.task.row
            slot.added = list(begun) or form.first_ids(slot.prompt)[-longest:]
        else:
            slot.added = form.turn_ids(slot.prompt[len(slot.shown) :], slot.closed)


def _act(slot: _Slot, sampled: Sampled, policy: Policy, response_format: ResponseFormat) -> bool:
    """Give the response to the environment with its tokens; True when the episode is over."""
    text = policy.decode(sampled.ids)
    tokens = StepTokens(
        prompt_ids=tuple(slot.added),
        sampled_ids=sampled.ids,
        logprobs=sampled.logprobs,
        new_row=slot.new_row,
        action_span=action_tokens(policy, sampled.ids, text, response_format),
    )
    recorder(slot.env).annotate(tokens)
    slot.shown = slot.prompt + text
    slot.closed = sampled.ids[-1] in policy.stop_ids
    slot.turn += 1
    answer = attempt(slot.env, text)
    if answer is None:
        return True
    slot.prompt, _, terminated, truncated, _ = answer
    return bool(terminated or truncated)


def action_tokens(
    policy: Policy, ids: Sequence[int], text: str, response_format: ResponseFormat
) -> tuple[int, int]:
    """Token range that covers the action's characters; the whole response in the plain format."""
    if response_format == "plain":
        return 0, len(ids)
    span = parse_response(text, response_format).action_span
    if span[0] == span[1]:  # no action in the response
        return 0, 0
    ends = [len(policy.decode(ids[: i + 1])) for i in range(len(ids))]
    start = next((i for i, end in enumerate(ends) if end > span[0]), len(ids))
    stop = next((i + 1 for i, end in enumerate(ends) if end >= span[1]), len(ids))
    return start, max(start, stop)


def _fits(slot: _Slot, room: int, form: PromptFormat) -> bool:
    """Whether the next turn and its response still fit in the row."""
    if not slot.prompt.startswith(slot.shown):
        return True  # a new row: its prompt is cut to size
    return len(form.turn_ids(slot.prompt[len(slot.shown) :], slot.closed)) < room


def _finish(slot: _Slot) -> Episode:
    """The record of the slot's episode; one that outgrew its row is closed as truncated."""
    record = recorder(slot.env)
    record.close_episode()
    assert record.last_episode is not None  # the slot has acted at least once
    return record.last_episode
