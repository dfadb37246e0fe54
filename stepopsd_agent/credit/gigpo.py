"""GiGPO (arXiv 2505.10978): GRPO over episodes, plus GRPO over steps that acted on the same observation.

    A^E = the advantage of GRPO
    R_t = r_t + gamma R_(t+1)
    A^S = (R_t - mean R) / (std R + eps)    over the steps of the group that have the same anchor
    A   = A^E + step_weight A^S

The anchor of a step is the observation it acted on. Observations are the same if their texts are equal,
character for character. Where they hardly ever repeat, `rollout.anchor_similarity` below 1 (0.9 in the
authors' runs on Search-QA) makes anchors of similar texts: a text joins the first cluster of its group whose
first text it resembles, by the ratio of `difflib.SequenceMatcher`.

Degenerate cases: an anchor met once has `A^S = 0`; without a repeated anchor the method is `grpo` with the
same `baseline` and `std`.

Departure: a group of one episode has `A^E = 0`, as for all methods; anchors that its episode revisits still
give `A^S`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.whole_episodes import check_whole


@dataclass(frozen=True)
class GiGPO:
    """GRPO over episodes, plus GRPO over those steps of a group that acted on the same observation.

    Attributes:
        gamma: discount per step.
        step_weight: weight of A^S, the paper's omega.
        std: divide by the standard deviations, the authors' `mean_std_norm`; without it their `mean_norm`.
        baseline: of A^E, as in `grpo`; the authors' code counts steps.
        eps: added to the standard deviations.
    """

    gamma: float = 0.95
    step_weight: float = 1.0
    std: bool = True
    baseline: Literal["episode", "step"] = "step"
    eps: float = 1e-6

    paper: ClassVar[str] = "Feng et al. 2025, arXiv 2505.10978"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero"})

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("step_weight", self.step_weight, 0.0)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    def __call__(self, batch: Batch) -> Credit:
        """A^E + step_weight A^S."""
        count = batch.num_steps
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        returns = returns_to_go(batch, self.gamma)
        place = ops.joined_ids(batch.group_of_step, batch.steps.anchor)
        level = ops.levelled(returns, place, count)
        per_step = ops.standardised(level, place, count, std=self.std, eps=self.eps)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token)
        shared = ops.group_count(place, count)[place] > 1
        metrics = {
            "step_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
            "steps_with_shared_anchor": float(shared.double().mean()),
        }
        advantages = base.advantages + self.step_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)


def returns_to_go(batch: Batch, gamma: float) -> Tensor:
    """[S] discounted sum of rewards from each step on; a penalty counts at its own step only."""
    paid, charged = paid_and_charged(batch)
    return ops.discounted_to_go(paid, batch.steps.episode_of_step, batch.num_episodes, gamma) - charged


def paid_and_charged(batch: Batch) -> tuple[Tensor, Tensor]:
    """[S] rewards without the penalties of single steps, and these penalties.

    Raises:
        ValueError: an episode has steps that the batch lacks, and with them rewards; see `check_whole`.
    """
    check_whole(batch)
    rewards, penalty = batch.steps.reward.detach(), batch.steps.penalty
    charged = torch.zeros_like(rewards) if penalty is None else penalty
    return rewards + charged, charged
