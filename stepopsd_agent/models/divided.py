"""Scoring divided over the processes of a group: each reads some of the trees, and all get every number."""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, distributed as dist
from torch.distributed import ProcessGroup

from stepopsd_agent.models.packed.logprobs import LogprobReader
from stepopsd_agent.models.packed.packing import Tree
from stepopsd_agent.models.scoring import Scorer, Scores


def shares(costs: Sequence[int], count: int) -> list[list[int]]:
    """Deal numbered work out to ``count`` processes, the dearest first, each to who has least so far."""
    loads, dealt = [(0, rank) for rank in range(count)], [list[int]() for _ in range(count)]
    for number in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
        load, rank = heapq.heappop(loads)
        dealt[rank].append(number)
        heapq.heappush(loads, (load + costs[number], rank))
    return [sorted(numbers) for numbers in dealt]


class DividedScorer(Scorer):
    """A `Scorer` that shares its trees with the other processes of a group.

    Every process has to read the same trees with the same reader, and gets equal numbers.

    Attributes:
        group: the processes.
    """

    def __init__(self, scorer: Scorer, group: ProcessGroup) -> None:
        """Take the settings of a scorer, and its budget."""
        self.model, self.temperature, self.backend = scorer.model, scorer.temperature, scorer.backend
        self.budget, self.group = scorer.budget, group

    def read(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Scores]:
        """As `Scorer.read`."""
        count = dist.get_world_size(self.group)
        mine = shares([len(tree) for tree in trees], count)[dist.get_rank(self.group)]
        read = self.read_own([trees[number] for number in mine], reader)
        found: list[Any] = [None] * count
        told = {n: tuple(c.cpu() for c in columns) for n, columns in zip(mine, read, strict=True)}
        dist.all_gather_object(found, told, group=self.group)
        every: dict[int, Scores] = {}
        for scores in found:
            every.update(scores)
        device = self.model.device
        return [tuple(column.to(device) for column in every[n]) for n in range(len(trees))]

    def read_own(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Scores]:
        """Read the trees of this process."""
        return super().read(trees, reader)
