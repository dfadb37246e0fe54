"""Fresh attempts from the middle of recorded episodes: Monte-Carlo values of the states of their steps.

A state is reached again by repeating the commands that led to it, and its hash is compared with the recorded
one. The policy goes on from the very ids it went on from then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gymnasium as gym
import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.policy import Policy
from stepopsd_agent.prompts import PromptFormat
from stepopsd_agent.rollout import Sampling, Task, rollout
from stepopsd_wrappers import Episode


@dataclass(frozen=True)
class Branching:
    """How values are estimated.

    Attributes:
        attempts: fresh attempts per state.
        penalty: taken off the return for every invalid step, as in the batch.
    """

    attempts: int
    penalty: float = 0.0


def monte_carlo_values(
    policy: Policy,
    form: PromptFormat,
    envs: Sequence[gym.Env[str, str]],
    episodes: Sequence[Episode],
    batch: Batch,
    sampling: Sampling,
    branching: Branching,
) -> tuple[Tensor, list[Episode]]:
    """[S] mean return of fresh attempts from before each step, and the attempts made.

    Steps that were chosen on the same ids, as the first of all members of a group, share their attempts.

    Args:
        policy: who plays on: the policy that acted.
        form: how prompts become ids.
        envs: one stack per slot.
        episodes: what `batch` was collated from.
        batch: for its steps and ids.
        sampling: as in the rollout, with a seed of its own.
        branching: how many attempts.

    Raises:
        RuntimeError: repeating an episode's commands led to another state, or every attempt met an error.
    """
    places: dict[tuple[str, int, tuple[int, ...]], list[int]] = {}
    for step, ids in enumerate(_ids_before(batch)):
        episode = episodes[int(batch.steps.episode_of_step[step])]
        places.setdefault((episode.task_id, episode.seed, ids), []).append(step)
    tasks: list[Task] = []
    starts: list[tuple[Episode, int]] = []
    for (task_id, seed, ids), steps in places.items():
        first = int(batch.steps.index_in_episode[steps[0]])
        episode = episodes[int(batch.steps.episode_of_step[steps[0]])]
        repeated = tuple(step.response for step in episode.steps[1:first])
        for _ in range(branching.attempts):
            member = len(tasks)
            tasks.append(Task(task_id, seed, member=member, repeated=repeated, row=ids))
            starts.append((episode, first))
    played = rollout(policy, form, envs, tasks, replace(sampling, seed=f"{sampling.seed}/branches"))
    values = torch.zeros(batch.num_steps)
    for number, steps in enumerate(places.values()):
        own = slice(number * branching.attempts, (number + 1) * branching.attempts)
        returns = [
            _return_after(attempt, *start, branching.penalty)
            for attempt, start in zip(played[own], starts[own], strict=True)
            if attempt.steps[-1].error is None
        ]
        if not returns:
            error = played[own][0].steps[-1].error
            raise RuntimeError(f"every fresh attempt at {played[own][0].task_id!r} met an error: {error}")
        values[steps] = sum(returns) / len(returns)
    return values.to(batch.tokens.input_ids.device), played


def _ids_before(batch: Batch) -> list[tuple[int, ...]]:
    """For every step the ids of its row before its first sampled one."""
    before: list[tuple[int, ...]] = [()] * batch.num_steps
    for ids, steps in zip(batch.tokens.input_ids.tolist(), batch.tokens.step_of_token.tolist(), strict=True):
        for column, step in enumerate(steps):
            if step >= 0 and not before[step]:
                before[step] = tuple(ids[:column])
    return before


def _return_after(attempt: Episode, origin: Episode, first: int, penalty: float) -> float:
    """Rewards of an attempt from the step `first` on; raises where it did not begin in the origin's state."""
    reached, recorded = (episode.steps[first - 1].info["step"]["state"] for episode in (attempt, origin))
    if reached != recorded:
        raise RuntimeError(
            f"repeating {first - 1} commands of {origin.task_id!r} led to another state than recorded: the "
            "environment is not deterministic, or its data have changed"
        )
    steps = attempt.steps[first:]
    return sum(step.reward - penalty * (not step.info["step"]["valid"]) for step in steps)
