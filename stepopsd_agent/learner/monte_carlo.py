"""Fresh attempts from the middle of recorded episodes: Monte-Carlo values of the states of their steps.

The commands of an episode are repeated once, and a snapshot is taken before every step that is valued, where
the state's hash has to be the recorded one. Attempts begin from there, and the policy goes on from the very
ids it went on from then.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.rollout import Backend, Sampling, Task, begin, rollout
from stepopsd_wrappers import Episode, HeldPrompt
from stepopsd_wrappers.stack import text_history


@dataclass(frozen=True)
class Branching:
    """How values are estimated.

    Attributes:
        attempts: fresh attempts per state.
        penalty: taken off the return for every invalid step, as in the batch.
    """

    attempts: int
    penalty: float = 0.0


class Valued(NamedTuple):
    """What `monte_carlo_values` finds.

    Attributes:
        values: [S] mean return of fresh attempts from before each step.
        attempts: them, each with the steps before it.
        repeated: commands given again to get to the states.
    """

    values: Tensor
    attempts: list[Episode]
    repeated: int


def monte_carlo_values(
    policy: Policy,
    form: PromptFormat,
    envs: Sequence[gym.Env[str, str]],
    episodes: Sequence[Episode],
    batch: Batch,
    sampling: Sampling,
    branching: Branching,
    backend: Backend = rollout,
) -> Valued:
    """The value of the state before each step, from fresh attempts.

    Steps that were chosen on the same ids, as the first of all members of a group, share their attempts.

    Args:
        policy: who plays on: the policy that acted.
        form: how prompts become ids.
        envs: one stack per slot.
        episodes: what `batch` was collated from.
        batch: for its steps and ids.
        sampling: as in the rollout, with a seed of its own.
        branching: how many attempts.
        backend: who plays them.

    Raises:
        RuntimeError: repeating an episode's commands led to another state, or every attempt met an error.
    """
    places: dict[tuple[str, int, tuple[int, ...]], list[int]] = {}
    for step, ids in enumerate(_ids_before(batch)):
        episode = episodes[int(batch.steps.episode_of_step[step])]
        places.setdefault((episode.task_id, episode.seed, ids), []).append(step)
    origins = [_place(batch, steps[0]) for steps in places.values()]
    held: dict[tuple[int, int], HeldPrompt] = {}
    for number in dict.fromkeys(number for number, _ in origins):
        wanted = {index for other, index in origins if other == number}
        found = _held(envs[0], episodes[number], wanted)
        held.update({(number, index): one for index, one in found.items()})
    tasks: list[Task] = []
    for (task_id, seed, ids), origin in zip(places, origins, strict=True):
        for _ in range(branching.attempts):
            tasks.append(Task(task_id, seed, member=len(tasks), held=held[origin], row=ids))
    played = backend(policy, form, envs, tasks, replace(sampling, seed=f"{sampling.seed}/branches"))
    values = torch.zeros(batch.num_steps)
    for number, (steps, (_, first)) in enumerate(zip(places.values(), origins, strict=True)):
        own = played[number * branching.attempts : (number + 1) * branching.attempts]
        values[steps] = _mean_return(own, first, branching.penalty)
    last = {number: index for number, index in sorted(held)}  # the furthest of each episode
    repeated = sum(last.values()) - len(last)
    return Valued(values.to(batch.tokens.input_ids.device), played, repeated)


def _place(batch: Batch, step: int) -> tuple[int, int]:
    """Number of a step's episode, and its index there."""
    return int(batch.steps.episode_of_step[step]), int(batch.steps.index_in_episode[step])


def _held(env: gym.Env[str, str], episode: Episode, wanted: Set[int]) -> dict[int, HeldPrompt]:
    """The stack before each wanted step of an episode, whose commands are given once more."""
    stack, held = text_history(env), dict[int, HeldPrompt]()
    begin(env, Task(episode.task_id, episode.seed))
    for index in range(1, max(wanted) + 1):
        if index in wanted:
            held[index] = stack.hold()
            _check_state(held[index], episode, index - 1)
        if index < max(wanted):
            env.step(episode.steps[index].response)
    return held


def _check_state(held: HeldPrompt, origin: Episode, commands: int) -> None:
    reached, recorded = held.episode.steps[-1], origin.steps[commands]
    if reached.info["step"]["state"] != recorded.info["step"]["state"]:
        raise RuntimeError(
            f"repeating {commands} commands of {origin.task_id!r} led to another state than recorded: the "
            "environment is not deterministic, or its data have changed"
        )


def _ids_before(batch: Batch) -> list[tuple[int, ...]]:
    """For every step the ids of its row before its first sampled one."""
    before: list[tuple[int, ...]] = [()] * batch.num_steps
    for ids, steps in zip(batch.tokens.input_ids.tolist(), batch.tokens.step_of_token.tolist(), strict=True):
        for column, step in enumerate(steps):
            if step >= 0 and not before[step]:
                before[step] = tuple(ids[:column])
    return before


def _mean_return(attempts: Sequence[Episode], first: int, penalty: float) -> float:
    """Mean over the attempts without an error of their rewards from the step `first` on."""
    sound = [attempt for attempt in attempts if attempt.steps[-1].error is None]
    if not sound:
        error = attempts[0].steps[-1].error
        raise RuntimeError(f"every fresh attempt at {attempts[0].task_id!r} met an error: {error}")
    steps = [step for attempt in sound for step in attempt.steps[first:]]
    return sum(step.reward - penalty * (not step.info["step"]["valid"]) for step in steps) / len(sound)
