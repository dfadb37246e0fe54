"""A run by several processes: they share play, scoring and every update, and the first one alone writes.

All of them go through the same run with the same numbers, so that each knows when to evaluate, to save and to
stop; the others write nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import distributed as dist

from stepopsd_agent.models import DividedScorer, Policy
from stepopsd_agent.rollout import Divided
from stepopsd_agent.run.display import Progress
from stepopsd_agent.run.files.checkpoint import Tensors, checkpoint_digest
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_agent.run.files.metrics_log import MetricsLog
from stepopsd_agent.run.run import ProgressShown, Run
from stepopsd_agent.run.trainer import Trainer
from stepopsd_wrappers import Episode, EpisodeWriter


class ParallelTrainer(Trainer):
    """A trainer whose `group` shares play and scoring, too."""

    def __post_init__(self) -> None:
        """Divide what an update needs."""
        super().__post_init__()
        assert self.group is not None
        self.backend = Divided(self.group, self.backend)
        self.scorer = DividedScorer(self.scorer, self.group)

    def step(self) -> tuple[list[Episode], dict[str, float], dict[str, float]]:
        """As `Trainer.step`; the tokens that the processes worked on are added up."""
        counters = self.counters
        before = counters.trained, counters.scored
        made = super().step()
        added = torch.tensor([counters.trained - before[0], counters.scored - before[1]])
        dist.all_reduce(added, group=self.group)
        counters.trained, counters.scored = (b + a for b, a in zip(before, added.tolist(), strict=True))
        return made


class _Unwritten:
    """Stands for the files that another process writes."""

    def append(self, episode: Episode) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def position(self) -> dict[str, int]:
        """Of a writer that has written nothing."""
        return {}

    def write(self, update: int, metrics: object, timing: object = None) -> None:
        """Nothing."""


class _Silent:
    """Progress that another process shows."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


@dataclass
class ParallelRun(Run):
    """A run that several processes go through; only the first one has files."""

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return dist.get_rank(self.trainer.group) == 0

    def open(self, opened: ExitStack, position: dict[str, int], rows: int) -> None:
        """As `Run.open`, by the process that writes, when the others have read the same.

        Raises:
            CheckpointError: in every process, where one continues from another checkpoint.
        """
        self._require_same_checkpoint()
        if self.leads:
            super().open(opened, position, rows)
            return
        self.writer, self.log = cast(EpisodeWriter, _Unwritten()), cast(MetricsLog, _Unwritten())

    def _require_same_checkpoint(self) -> None:
        """Compare what was read: other weights would be seen at the first update, other moments after it."""
        mine = "" if self.resumed is None else checkpoint_digest(self.resumed)
        found: list[Any] = [None] * dist.get_world_size(self.trainer.group)
        name = "no checkpoint" if self.resumed is None else self.resumed.name
        dist.all_gather_object(found, (mine, name), group=self.trainer.group)
        if len({digest for digest, _ in found}) > 1:
            told = ", ".join(f"process {rank} {read}" for rank, (_, read) in enumerate(found))
            raise CheckpointError(
                f"the processes of the run have read different checkpoints from {self.out}: {told}. Give all "
                "of them the run folder of the process that writes, on a disk that they share or as copies"
            )

    def progress(self, total: int | None, what: str, unit: str, done: int, at_once: int = 1) -> ProgressShown:
        """As `Run.progress`, in one process."""
        return super().progress(total, what, unit, done, at_once) if self.leads else _silent()

    def save(self, state: dict[str, Any], tensors: Tensors) -> None:
        """As `Run.save`, in one process."""
        if self.leads:
            super().save(state, tensors)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """As `Run.write`, in one process."""
        if self.leads:
            super().write(name, content)

    def finish(self, method_name: str, policy: Policy) -> dict[str, Any]:
        """As `Run.finish`; the summary is every process's."""
        found: list[Any] = [super().finish(method_name, policy) if self.leads else None]
        dist.broadcast_object_list(found, 0, group=self.trainer.group)
        summary: dict[str, Any] = found[0]
        return summary

    def go(self, stopped: Callable[[], bool]) -> None:
        """As `Run.go`; a process that is told to stop stops them all, after the same update."""

        def told() -> bool:
            asked = torch.tensor(int(stopped()))
            dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self.trainer.group)
            return bool(asked)

        super().go(told)


@contextmanager
def _silent() -> Iterator[Progress]:
    yield _Silent()
