"""RLOO (Ahmadian et al., arXiv 2402.14740): an episode's return against those of the others of its group.

    A_i = R_i - mean of R_j over the others = n / (n - 1) (R_i - mean_group R)

the same for every token that episode i sampled. The update goes through the clipped surrogate, as in the code
of the agentic papers, where the paper has plain REINFORCE.

Departure: a group of one gives zero advantage, since there are no others; that code keeps its raw return.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit
from stepopsd_agent.credit.grpo import episode_credit


@dataclass(frozen=True)
class RLOO:
    """Leave-one-out advantage of whole episodes."""

    paper: ClassVar[str] = "Ahmadian et al. 2024, arXiv 2402.14740"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero"})

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of each episode on every token it sampled."""
        group = batch.episodes.group_of_episode
        groups = int(group.max()) + 1
        centred = ops.standardised(batch.episodes.episode_return.detach(), group, groups, std=False)
        size = ops.group_count(group, groups)[group]
        return episode_credit(batch, centred * size / (size - 1).clamp(min=1))
