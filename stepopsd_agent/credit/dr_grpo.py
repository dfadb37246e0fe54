"""Dr. GRPO (Liu et al., arXiv 2503.20783): GRPO without what favours short answers and easy questions.

    A_i = R_i - mean_group R, the same for every token that episode i sampled

The paper's other half is the loss: sums over tokens divided by a constant, which is the learner's
`aggregation="seq-mean-token-sum-norm"`.

Departure: a group of one gives zero advantage, as in `grpo`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice
from stepopsd_agent.credit.grpo import GRPO


@dataclass(frozen=True)
class DrGRPO:
    """Distance of whole episodes from their group's mean return.

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
