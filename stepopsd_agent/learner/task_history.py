"""The history of each task over earlier updates: where its steps led, and how its episodes ended.

Nothing here is learned from: there are no tokens, only keys of places, outcomes and returns.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch, Past, check_episodes
from stepopsd_agent.credit import computed
from stepopsd_agent.learner.lifted_plans import LiftedPlans
from stepopsd_agent.tasks import instance_of, lifted_of
from stepopsd_envs.step_info import hash_number
from stepopsd_wrappers import Episode

KEPT = frozenset({"past", "lifted_distance"})
"""Columns that need a history, or tell more with one."""
KINDS = ("anchor", "state", "text_key")
"""Columns of `Steps` that hold a key of the place a step acted on; with "next_" before it, that it led to."""


@dataclass(frozen=True, eq=False, slots=True)
class _Task:
    """One task: its different steps of all updates, and the episodes of the latest one."""

    steps: Tensor
    """[M, 1 + 2 kinds] int64, sorted: whether it won, then the key before and the key after of each kind."""
    returns: Tensor
    """[K] float64."""
    sizes: Tensor
    """[K] int64, steps of each episode."""


class TaskHistory:
    """The attempts of earlier updates, by task: `past` tells what is known, `add` learns of an update.

    Kept are the keys that a method reads: those whose column of the place a step led to ("next_anchor") is in
    its `needs`. A task is known by its `TaskSpec.instance`, which is its id unless the environment changes
    with the seed. Of each task every different step is kept, and the returns of the latest update that
    played it. Memory is bounded: where there are more steps than `most_steps`, the tasks that were not
    played for longest are forgotten, whole; those of the latest update stay.

    For a method that needs `lifted_distance`, attempts are kept in the terms of their tasks, too.

    Attributes:
        kinds: of keys that are kept.
        plans: of the forms of tasks.
        most_steps: different steps kept of all tasks together; a million take 24 MB for each kind of key.
    """

    def __init__(self, needs: Collection[str], most_steps: int = 1_000_000) -> None:
        """Begin without a past.

        Args:
            needs: of the credit method.
            most_steps: see above.
        """
        if most_steps < 1:
            raise ValueError(f"most_steps is {most_steps}; the smallest value is 1")
        self._kept = KEPT.intersection(needs)
        past = "past" in self._kept
        self.kinds = tuple(kind for kind in KINDS if past and f"next_{kind}" in needs)
        self.most_steps = most_steps
        self.plans = LiftedPlans()
        self._tasks: dict[str, _Task] = {}  # played longest ago first

    @staticmethod
    def serves(needs: Collection[str]) -> bool:
        """Whether a method with these needs has any use for a history."""
        return not KEPT.isdisjoint(needs)

    def past(self, batch: Batch, episodes: Sequence[Episode]) -> Past:
        """The history of the tasks of a batch.

        Args:
            batch: as `collate` makes it of `episodes`, with the keys that are kept.
            episodes: the records, in the order of the batch.

        Raises:
            ValueError: anchors are numbers of this batch alone, so that they cannot be compared.
        """
        self._check_anchors(batch, episodes)
        known = [
            (number, task)
            for number, name in _groups(batch, episodes)
            if (task := self._tasks.get(name)) is not None
        ]
        steps, returns, sizes = _joined([task for _, task in known], len(self.kinds))
        of_step = [number for number, task in known for _ in range(len(task.steps))]
        of_episode = [number for number, task in known for _ in range(len(task.returns))]
        keys = {
            f"{way}{kind}": steps[:, 1 + 2 * place + after].contiguous()
            for place, kind in enumerate(self.kinds)
            for after, way in enumerate(("", "next_"))
        }
        past = Past(
            torch.tensor(of_step, dtype=torch.int64),
            steps[:, 0].bool(),
            torch.tensor(of_episode, dtype=torch.int64),
            returns,
            sizes,
            **keys,
        )
        return past.to(batch.tokens.input_ids.device, batch.episodes.episode_return.dtype)

    def add(self, batch: Batch, episodes: Sequence[Episode]) -> None:
        """Learn of an update, once its credit is computed; arguments and errors as of `past`.

        Raises:
            ValueError: the episodes are not those of the batch, in its order, too.
        """
        check_episodes(batch, episodes)
        if "lifted_distance" in self._kept:
            self.plans.add((lifted_of(episode), episode.success) for episode in episodes)
        if "past" in self._kept:
            self._add_steps(batch, episodes)

    def _add_steps(self, batch: Batch, episodes: Sequence[Episode]) -> None:
        self._check_anchors(batch, episodes)
        owner, rows = batch.steps.episode_of_step.cpu(), self._rows(batch)
        returns = batch.episodes.episode_return.detach().double().cpu()
        sizes = torch.bincount(owner, minlength=batch.num_episodes)
        for name in dict.fromkeys(map(instance_of, episodes)):
            mine = torch.tensor([instance_of(episode) == name for episode in episodes])
            steps = rows[mine[owner]]
            if (before := self._tasks.pop(name, None)) is not None:
                steps = torch.cat([before.steps, steps])
            self._tasks[name] = _Task(torch.unique(steps, dim=0), returns[mine], sizes[mine])
        self._forget(keep={instance_of(episode) for episode in episodes})

    def _rows(self, batch: Batch) -> Tensor:
        """[S, 1 + 2 kinds] the steps of a batch as `_Task.steps` has them."""
        won = batch.last_step & batch.episodes.success[batch.steps.episode_of_step]
        names = [f"{way}{kind}" for kind in self.kinds for way in ("", "next_")]
        keys = [computed(getattr(batch.steps, name), f"steps.{name}") for name in names]
        return torch.stack([won.to(torch.int64), *keys], dim=1).cpu()

    def _forget(self, keep: Collection[str]) -> None:
        """Drop the tasks played longest ago until the others fit."""
        total = sum(len(task.steps) for task in self._tasks.values())
        for name in [name for name in self._tasks if name not in keep]:
            if total <= self.most_steps:
                return
            total -= len(self._tasks.pop(name).steps)

    def _check_anchors(self, batch: Batch, episodes: Sequence[Episode]) -> None:
        """Refuse anchors that are numbers of clusters: equal numbers of two batches mean nothing."""
        if "anchor" not in self.kinds:
            return
        places = zip(batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist(), strict=True)
        hashes = [
            hash_number(episodes[episode].steps[index - 1].info["step"]["anchor"])
            for episode, index in places
        ]
        if batch.steps.anchor.tolist() != hashes:
            raise ValueError(
                "the anchors of this batch are clusters of alike observations, which other batches number "
                "otherwise: set rollout.anchor_similarity to 1, or choose another key"
            )

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint."""
        names = ("steps", "returns", "sizes")
        tensors = _joined(list(self._tasks.values()), len(self.kinds))
        return {"history": dict(zip(names, tensors, strict=True))}

    def state(self) -> dict[str, Any]:
        """The rest of a checkpoint, JSON-able."""
        tasks = self._tasks.values()
        return {
            "kinds": list(self.kinds),
            "tasks": list(self._tasks),
            "steps": [len(task.steps) for task in tasks],
            "episodes": [len(task.returns) for task in tasks],
            "plans": self.plans.state(),
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: it has no history, or one of other keys.
        """
        if state.get("kinds") != list(self.kinds):
            raise ValueError(
                f"its history of tasks has keys {state.get('kinds')}, this run needs {list(self.kinds)}; "
                "resume with the credit method of the run that wrote it"
            )
        self.plans.restore(state["plans"])
        kept = tensors["history"]
        parts = zip(
            state["tasks"],
            _cut(kept["steps"], state["steps"]),
            _cut(kept["returns"], state["episodes"]),
            _cut(kept["sizes"], state["episodes"]),
            strict=True,
        )
        self._tasks = {name: _Task(*values) for name, *values in parts}


def _groups(batch: Batch, episodes: Sequence[Episode]) -> Iterator[tuple[int, str]]:
    """Number and task of every group, in the order of their first episodes."""
    numbers = dict(zip(batch.episodes.group_of_episode.tolist(), episodes, strict=True))
    yield from ((number, instance_of(episode)) for number, episode in numbers.items())


def _cut(tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Copies of its parts, so many rows each."""
    return [tensor[end - size : end].clone() for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _joined(tasks: Sequence[_Task], kinds: int) -> tuple[Tensor, Tensor, Tensor]:
    """The three tensors of all these tasks, one after the other."""
    none = torch.zeros(0, 1 + 2 * kinds, dtype=torch.int64)
    return (
        torch.cat([none, *(task.steps for task in tasks)]),
        torch.cat([torch.zeros(0, dtype=torch.float64), *(task.returns for task in tasks)]),
        torch.cat([none[:, 0], *(task.sizes for task in tasks)]),
    )
