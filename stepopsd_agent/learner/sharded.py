"""Update and scoring of a policy that is shared out over processes: the same numbers of passes in each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.distributed import ProcessGroup

from stepopsd_agent.learner.learner import Learner
from stepopsd_agent.models import DividedScorer, Scorer, ShardedPolicy
from stepopsd_agent.models.packed import LogprobReader, TokenBudget, Tree, out_of_memory


class ShardedLearner(Learner):
    """A learner of which every process holds a part: weights, gradients and moments.

    Attributes:
        policy: shared out.
    """

    policy: ShardedPolicy

    def __init__(self, policy: ShardedPolicy, *, group: ProcessGroup | None = None, **settings: Any) -> None:
        """As `Learner`; ``group`` are the processes of the policy."""
        super().__init__(policy, group=group, **settings)
        self.budget = firm(self.budget)

    def _scorer(self, temperature: float) -> Scorer:
        return ShardedScorer(super()._scorer(temperature), self.policy.how.group)

    def _micro_loss(self, work: Any, stats: dict[str, float]) -> Tensor:
        self.policy.turn(True)
        return self.policy.whole(partial(super()._micro_loss, work, stats))

    def _accumulate(self, work: Any, part: Tensor) -> dict[str, float]:
        stats = super()._accumulate(work, part)
        shortest = part[work.extents[part].argmin()][None]
        idle = partial(super()._micro_loss, work.rows(shortest), dict.fromkeys(stats, 0.0))

        def idle_pass() -> None:
            (0 * self.policy.whole(idle)).backward()  # type: ignore[no-untyped-call]

        while self.policy.turn(False):
            idle_pass()
        if all(weight.grad is None for weight in self.masters.trained):  # no process had a row to learn from
            idle_pass()
        return stats


class ShardedScorer(DividedScorer):
    """A scorer whose passes keep step with those of the other processes."""

    model: ShardedPolicy

    def __init__(self, scorer: Scorer, group: ProcessGroup) -> None:
        """Take the settings of a scorer."""
        super().__init__(scorer, group)
        self.budget = firm(self.budget)

    def read(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Any]:
        """As `DividedScorer.read`."""
        self._least = min(trees, key=len, default=None)
        return super().read(trees, reader)

    def read_own(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Any]:
        """As `DividedScorer.read_own`, and passes of no use while other processes have trees left."""
        scores = super().read_own(trees, reader)
        while self.model.turn(False):
            assert self._least is not None  # another process has trees
            self.model.read_only(partial(super()._forward, [self._least], reader))
        return scores

    def _forward(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Any]:
        self.model.turn(True)
        return self.model.read_only(partial(super()._forward, trees, reader))


class _FirmBudget(TokenBudget):
    """A budget that is not halved: a process that leaves a pass in the middle is waited for in vain."""

    def halve(self, error: RuntimeError, tokens: int, rows: int) -> None:
        """Say what to change.

        Raises:
            RuntimeError: always.
        """
        if not out_of_memory(error):
            raise error
        raise RuntimeError(
            f"out of memory on {self.device} with {tokens} tokens in {rows} rows: lower "
            f"learner.tokens_per_micro_batch, which allowed {self.tokens} tokens, set "
            "learner.gradient_checkpointing to true or start more processes, then resume; with "
            "learner.sharding fsdp a run cannot go on by itself, as the processes' passes have to keep step"
        ) from error


def firm(budget: TokenBudget) -> TokenBudget:
    """The same budget for processes that keep step."""
    made = _FirmBudget(budget.tokens, budget.device)
    made.grows = budget.grows
    return made
