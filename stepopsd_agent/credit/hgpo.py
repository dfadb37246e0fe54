"""HGPO (arXiv 2602.22817): a step against those of its group that have the same recent history.

For k = 1 to history + 1, the k-th history group of a step (a `circle` in the code) holds the steps of its
group whose last k observations, the one acted on among them, are the same, whichever episode they belong to:

    R_t = r_t + gamma R_(t+1)
    A_k = (R_t - mean R) / (std R + eps)    over the k-th history group; std is that of the population
    A   = sum of w_k A_k                    over the k with A_k other than 0
    w_k = (k + 1)^alpha / (sum of (k + 1)^alpha over these k + eps)

There is no episode-level advantage, as in the authors' default (`base_group=False`).

Degenerate cases:

- A history group of one has `A_k = 0`.
- A step whose episode has shown fewer than k observations so far has no k-th history group.
- A step that shares its observation with no other gets no advantage.

Departures: none known; its values are those of the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_range
from stepopsd_agent.credit.gigpo import returns_to_go


@dataclass(frozen=True)
class HGPO:
    """A step against those of its group with the same recent history; longer histories weigh more.

    Attributes:
        history: earlier observations compared, beside the one acted on; the authors' K, which is 2 or 4.
        gamma: discount per step.
        alpha: exponent of the weights: how much more a longer shared history weighs.
        std: divide by the standard deviations.
        eps: added to the standard deviations, and to the sum of the weights.
    """

    history: int = 2
    gamma: float = 0.95
    alpha: float = 1.0
    std: bool = True
    eps: float = 1e-6

    paper: ClassVar[str] = "arXiv 2602.22817"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero"})

    def __post_init__(self) -> None:
        check_range("history", self.history, 0)
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("alpha", self.alpha, 0.0)
        check_range("eps", self.eps, 0.0)

    def __call__(self, batch: Batch) -> Credit:
        """The weighted mean over the history groups of every step."""
        count, returns = batch.num_steps, returns_to_go(batch, self.gamma)
        total, weights = torch.zeros_like(returns), torch.zeros_like(returns)
        for k, circle in enumerate(_circles(batch, self.history + 1), start=1):
            there = circle >= 0
            part = torch.zeros_like(returns)
            level = ops.levelled(returns[there], circle[there], count)
            part[there] = ops.standardised(
                level, circle[there], count, std=self.std, eps=self.eps, correction=0
            )
            weight = (k + 1) ** self.alpha * (part != 0)
            total, weights = total + weight * part, weights + weight
        per_step = torch.where(weights > 0, total / (weights + self.eps), 0)
        advantages = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = {
            "advantage_abs": float(ops.masked_mean(advantages.abs(), batch.action_mask)),
            "steps_without_credit": float((per_step == 0).double().mean()),
        }
        return Credit(advantages, metrics=metrics, may_zero_steps=True)


def _circles(batch: Batch, most: int) -> list[Tensor]:
    """For k = 1 .. `most` the [S] history group of every step; -1 where it has no k observations."""
    episode = batch.steps.episode_of_step
    nothing = episode.new_full((batch.num_episodes,), -1)
    circles = [ops.joined_ids(batch.group_of_step, batch.steps.anchor)]
    for _ in range(1, most):
        before = ops.preceding(circles[-1], episode, nothing)
        longer = ops.joined_ids(before, batch.group_of_step, batch.steps.anchor)
        circles.append(torch.where(before >= 0, longer, -1))
    return circles
