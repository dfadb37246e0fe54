"""Play divided over the processes of a group: each plays some of the groups, and all get every record.

Sampling noise belongs to an attempt, not to who plays it, so the episodes are those of one process.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gymnasium as gym
from torch import distributed as dist
from torch.distributed import ProcessGroup

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.backends import Backend
from stepopsd_agent.rollout.language_model import rollout
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_wrappers import Episode


def own_attempts(attempts: Sequence[Attempt], rank: int, count: int) -> list[int]:
    """Numbers of the attempts that one of ``count`` processes plays.

    Whole groups, in turn; single attempts in turn where there are fewer groups than processes.
    """
    groups = list(dict.fromkeys(attempt.group for attempt in attempts))
    if len(groups) < count:
        return list(range(rank, len(attempts), count))
    mine = set(groups[rank::count])
    return [number for number, attempt in enumerate(attempts) if attempt.group in mine]


class Divided:
    """A `Backend` that shares the attempts with the other processes of a group.

    Attributes:
        group: the processes; each has to be asked to play the same attempts.
        backend: plays the attempts of this process.
        player: the policy to play with, for the time of a `with`; the policy itself when absent.
    """

    def __init__(
        self,
        group: ProcessGroup,
        backend: Backend = rollout,
        player: Callable[[Policy], AbstractContextManager[Policy]] = nullcontext,
    ) -> None:
        """Share the attempts from now on."""
        self.group, self.backend, self.player = group, backend, player

    def __call__(
        self,
        policy: Policy,
        envs: Sequence[gym.Env[str, str]],
        attempts: Sequence[Attempt],
        params: SamplingParams | None = None,
        *,
        seed: int | str = 0,
        run: str = "",
        update: int = 0,
        on_episode: OnEpisode | None = None,
    ) -> list[Episode]:
        """As `rollout`; ``on_episode`` is called with every record once all are there, in their order."""
        count = dist.get_world_size(self.group)
        mine = own_attempts(attempts, dist.get_rank(self.group), count)
        before, some = policy.play.shortened, [attempts[number] for number in mine]
        with self.player(policy) as player:
            played = self.backend(player, envs, some, params, seed=seed, run=run, update=update)
        found: list[Any] = [None] * count
        told = (dict(zip(mine, played, strict=True)), policy.play.shortened - before)
        dist.all_gather_object(found, told, group=self.group)
        policy.play.shortened = before + sum(shortened for _, shortened in found)
        every: dict[int, Episode] = {}
        for records, _ in found:
            every.update(records)
        episodes = [every[number] for number in range(len(attempts))]
        for episode in episodes if on_episode else ():
            on_episode(episode)  # type: ignore[misc]
        return episodes
