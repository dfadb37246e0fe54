"""Dr. GRPO (arXiv 2503.20783): an episode's return minus its group's mean.

Every token that episode i sampled gets

    A_i = R_i - mean R

Dividing by the deviation, as `grpo` does, gives more weight to tasks that nearly always or hardly ever
succeed. The paper's other half is in the loss, where dividing by a response's length favours short right
answers and long wrong ones: it sums over tokens and divides by a constant, which is
`learner.aggregation=seq-mean-token-sum-norm`.

Degenerate cases: those of `grpo`.

Departure: a group of one gives zero, as for all methods.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice
from stepopsd_agent.credit.grpo import GRPO


@dataclass(frozen=True)
class DrGRPO:
    """An episode's return minus its group's mean, without dividing by the standard deviation.

    Attributes:
        baseline: as in `grpo`.
    """

    baseline: Literal["episode", "step"] = "episode"

    paper: ClassVar[str] = "Liu et al. 2025, arXiv 2503.20783"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero"})

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of each episode on every token it sampled."""
        return GRPO(baseline=self.baseline, std=False)(batch)
