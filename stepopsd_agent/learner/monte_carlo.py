"""Monte-Carlo values (VinePPO, arXiv 2410.01679): fresh attempts from the middle of recorded episodes.

The commands of an episode are repeated once, and a snapshot is taken before every step that is valued; the
state's hash there has to be the recorded one. Fresh attempts begin at the snapshots, and the policy
continues the very ids that it continued in the recording.

An attempt that an error of the environment ends is left out of the mean. Where none is left, and where the
error comes while commands are repeated, they are played again, up to `FAILURE_LIMIT` times, as other attempts
of a run are.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import (
    FAILURE_LIMIT,
    Attempt,
    Backend,
    EnvironmentDownError,
    Failures,
    SamplingParams,
    begin,
    reset_failed,
    rollout,
    valid_episodes,
)
from stepopsd_wrappers import Episode, PromptSnapshot, recorder
from stepopsd_wrappers.record_episode import step_recorded
from stepopsd_wrappers.text_history import text_history

if TYPE_CHECKING:
    from stepopsd_agent.learner.columns import Sources


@dataclass(frozen=True)
class FreshAttempts:
    """How Monte-Carlo values are estimated.

    Attributes:
        count: fresh attempts per state.
        penalty: taken off the return for every invalid step, as in the batch.
        params: of sampling, as in the rollout.
        seed: of the sampling noise.
        backend: plays the attempts.
    """

    count: int = 9
    penalty: float = 0.0
    params: SamplingParams = field(default_factory=SamplingParams)
    seed: int | str = "branches"
    backend: Backend = rollout


class MonteCarlo(NamedTuple):
    """The result of `monte_carlo_values`.

    Attributes:
        values: [S] mean return of fresh attempts from before each step.
        attempts: records of the fresh attempts, each with the steps before it.
        repeated: number of commands repeated to reach the states.
    """

    values: Tensor
    attempts: list[Episode]
    repeated: int


def monte_carlo_values(
    policy: Policy,
    envs: Sequence[gym.Env[str, str]],
    episodes: Sequence[Episode],
    batch: Batch,
    fresh: FreshAttempts,
) -> MonteCarlo:
    """The value of the state before each step, from fresh attempts.

    Steps that were chosen in the same state on the same ids, as the first steps of all members of a group,
    share their attempts. Ids alone do not tell the state: a window shows the last steps only.

    Args:
        policy: the policy that acted; it plays the fresh attempts.
        envs: one stack per slot.
        episodes: the records that `batch` was collated from.
        batch: for its steps and ids.
        fresh: how many attempts, and how they are sampled.

    Raises:
        RuntimeError: repeating an episode's commands led to another state.
        EnvironmentDownError: the environment failed again and again.
    """
    places: dict[tuple[str, int, str, int, tuple[int, ...]], list[int]] = {}
    for step, ids in enumerate(_ids_before(batch)):
        number, index = _place(batch, step)
        episode = episodes[number]
        state = episode.steps[index - 1].info["step"]["state"]
        places.setdefault((episode.task_id, episode.seed, state, index, ids), []).append(step)
    origins = [_place(batch, steps[0]) for steps in places.values()]
    snapshots: dict[tuple[int, int], PromptSnapshot] = {}
    for number in dict.fromkeys(number for number, _ in origins):
        indices = {index for other, index in origins if other == number}
        taken = _snapshots(envs[0], episodes[number], indices)
        snapshots.update({(number, index): snapshot for index, snapshot in taken.items()})
    attempts: list[Attempt] = []
    for (task_id, seed, *_, ids), origin in zip(places, origins, strict=True):
        for _ in range(fresh.count):
            attempts.append(Attempt(task_id, seed, member=len(attempts), snapshot=snapshots[origin], row=ids))
    failures = Failures()

    def note(
        attempt: Episode,
    ) -> None:  # what was done before the snapshot says nothing of the environment now
        steps = attempt.steps[origins[attempt.member // fresh.count][1] :]
        if steps and (failures.row or attempt.failed):
            failures.note(replace(attempt, steps=(attempt.steps[0], *steps)))

    def play(some: Sequence[Attempt]) -> list[Episode]:
        return fresh.backend(policy, envs, some, fresh.params, seed=fresh.seed, on_episode=note)

    played = play(attempts)
    values = torch.zeros(batch.num_steps)
    for number, (steps, (_, first)) in enumerate(zip(places.values(), origins, strict=True)):
        members = slice(number * fresh.count, (number + 1) * fresh.count)
        played[members] = _some_valid(play, attempts[members], played[members])
        values[steps] = _mean_return(valid_episodes(played[members]), first, fresh.penalty)
    last = {number: index for number, index in sorted(snapshots)}  # the furthest of each episode
    repeated = sum(last.values()) - len(last)
    return MonteCarlo(values.to(batch.tokens.input_ids.device), played, repeated)


def _place(batch: Batch, step: int) -> tuple[int, int]:
    """Number of a step's episode, and its index there."""
    return int(batch.steps.episode_of_step[step]), int(batch.steps.index_in_episode[step])


def _some_valid(
    play: Callable[[Sequence[Attempt]], list[Episode]], attempts: Sequence[Attempt], played: list[Episode]
) -> list[Episode]:
    """These attempts as they were played, or again, until not every one met an error."""
    failed: list[Episode] = []
    while not valid_episodes(played):
        failed += played
        if len(failed) >= FAILURE_LIMIT:
            raise EnvironmentDownError(tuple(failed))
        played = play(attempts)
    return played


def _snapshots(env: gym.Env[str, str], episode: Episode, indices: Set[int]) -> dict[int, PromptSnapshot]:
    """The stack before each of these steps of an episode, whose commands are given once more."""
    failed: list[Episode] = []
    while (snapshots := _repeated(env, episode, indices)) is None:
        record = recorder(env).last_episode
        assert record is not None  # it has the error
        failed.append(record)
        if len(failed) >= FAILURE_LIMIT:
            raise EnvironmentDownError(tuple(failed))
    return snapshots


def _repeated(
    env: gym.Env[str, str], episode: Episode, indices: Set[int]
) -> dict[int, PromptSnapshot] | None:
    """The same; None when the environment raised."""
    stack, snapshots = text_history(env), dict[int, PromptSnapshot]()
    try:
        begin(env, Attempt(episode.task_id, episode.seed))
    except Exception as error:
        if not reset_failed(env, episode.task_id, error):
            raise
        return None
    for index in range(1, max(indices) + 1):
        if index in indices:
            snapshots[index] = stack.snapshot()
            _check_state(snapshots[index], episode, index - 1)
        if index < max(indices) and step_recorded(env, episode.steps[index].response) is None:
            return None
    return snapshots


def _check_state(snapshot: PromptSnapshot, origin: Episode, commands: int) -> None:
    reached, recorded = snapshot.episode.steps[-1], origin.steps[commands]
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
    """Mean over attempts without errors of their rewards from the step `first` on."""
    steps = [step for attempt in attempts for step in attempt.steps[first:]]
    return sum(step.reward - penalty * (not step.info["step"]["valid"]) for step in steps) / len(attempts)


def fill_mc_value(batch: Batch, sources: "Sources") -> Batch:
    """Fresh attempts of the policy from the state before every step; their cost is added to the sources'."""
    values, played, repeated = monte_carlo_values(
        sources.policy, sources.environments("mc_value"), sources.episodes, batch, sources.fresh
    )
    sampled = [step.tokens for episode in played for step in episode.steps if step.tokens is not None]
    sources.cost.generated += sum(len(tokens.sampled_ids) for tokens in sampled)
    sources.cost.env_steps += repeated + len(sampled)
    return batch.with_columns(mc_value=values)
