"""RLOO (arXiv 2402.14740), REINFORCE leave-one-out: an episode's return against the rest of its group.

Every token that episode i of a group of n sampled gets

    A_i = R_i - 1/(n - 1) (sum of R_j over the other episodes j)
        = n/(n - 1) (R_i - mean R)

Degenerate cases: returns that are equal all over a group give exactly zero, and so does a group of one, where
there are no others.

With a penalty on refused steps (`rollout.invalid_penalty_on=step`) `A_i` is less for a step by what it is
charged above the mean of the group's steps: where all are charged alike, that teaches nothing.

Departures:

- The update goes through the clipped surrogate, as in the code of the agentic papers, where the paper has
  plain REINFORCE.
- A group of one gives zero, as for all methods; that code keeps its raw return.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit
from stepopsd_agent.credit.grpo import step_credit


@dataclass(frozen=True)
class RLOO:
    """An episode's return minus the mean return of the others in its group."""

    paper: ClassVar[str] = "Ahmadian et al. 2024, arXiv 2402.14740"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero"})

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of each episode on every token it sampled."""
        group = batch.episodes.group_of_episode
        size = ops.group_count(group, int(group.max()) + 1)[group]
        return step_credit(
            batch, less_penalties(batch, centred_returns(batch) * size / (size - 1).clamp(min=1))
        )


def centred_returns(batch: Batch) -> Tensor:
    """[E] returns less the mean of their group."""
    returns, group = batch.episodes.episode_return.detach(), batch.episodes.group_of_episode
    groups = int(group.max()) + 1
    return ops.standardised(ops.levelled(returns, group, groups), group, groups, std=False)


def less_penalties(batch: Batch, of_episode: Tensor) -> Tensor:
    """[S] the value of a step's episode [E], less what it is charged above the mean of its group's steps."""
    values, penalty = of_episode[batch.steps.episode_of_step], batch.steps.penalty
    if penalty is None:
        return values
    group, groups = batch.group_of_step, int(batch.episodes.group_of_episode.max()) + 1
    return values - ops.standardised(ops.levelled(penalty, group, groups), group, groups, std=False)
