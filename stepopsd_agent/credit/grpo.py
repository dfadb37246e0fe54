"""GRPO (arXiv 2402.03300), group-relative policy optimisation: an episode's return against its group's.

Every token that episode i sampled gets

    A_i = (R_i - mean R) / (std R + eps)

Degenerate cases: returns equal all over a group, up to rounding, give exactly zero; so does a group of one.

With a penalty on refused steps (`rollout.invalid_penalty_on=step`) `R_i` is that much less for such a step;
mean and deviation then count every step, whatever the `baseline`, as the scores are those of steps.

Departure: a group of one, as for all methods. The code that agentic papers build on sets mean 0 and deviation
1 there, so that such an episode would get its raw return.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range


@dataclass(frozen=True)
class GRPO:
    """An episode's return minus its group's mean, divided by the group's standard deviation.

    Attributes:
        baseline: "episode" counts every episode of the group once; "step" once for each of its steps, as code
            with a row per step does, so that long episodes weigh more in mean and deviation.
        std: divide by the group's standard deviation.
        eps: added to the standard deviation.
    """

    baseline: Literal["episode", "step"] = "episode"
    std: bool = True
    eps: float = 1e-6

    paper: ClassVar[str] = "Shao et al. 2024, arXiv 2402.03300"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero", "base"})

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of each episode on every token it sampled."""
        return step_credit(batch, self._advantage(batch))

    def _advantage(self, batch: Batch) -> Tensor:
        """[S] advantages."""
        group, returns = batch.episodes.group_of_episode, batch.episodes.episode_return.detach()
        if by_step := self.baseline == "step" or batch.steps.penalty is not None:
            group, returns = batch.group_of_step, step_scores(batch, returns)
        groups = int(group.max()) + 1
        level = ops.levelled(returns, group, groups)
        advantage = ops.standardised(level, group, groups, std=self.std, eps=self.eps)
        return advantage if by_step else advantage[batch.steps.episode_of_step]


def step_scores(batch: Batch, of_episode: Tensor) -> Tensor:
    """[S] every step's share in its episode's value [E]: all of it, less the step's own penalty."""
    scores, penalty = of_episode[batch.steps.episode_of_step], batch.steps.penalty
    return scores if penalty is None else scores - penalty


def step_credit(batch: Batch, advantage: Tensor) -> Credit:
    """Credit that gives every token its step's advantage, from `advantage` [S].

    Its metrics are mean |A| per token, and the share of groups in which no step has an advantage.
    """
    group = batch.group_of_step
    advantages = ops.spread_steps(advantage, batch.tokens.step_of_token)
    metrics = {
        "advantage_abs": float(ops.masked_mean(advantages.abs(), batch.action_mask)),
        "groups_without_credit": 1.0 - len(torch.unique(group[advantage != 0])) / (int(group.max()) + 1),
    }
    return Credit(advantages, metrics=metrics, may_zero_steps=batch.steps.penalty is not None)
