"""AgentOPSD (arXiv 2608.05987): GRPO's advantage, weighted by how far each step moves a belief in success.

With A the advantage of `grpo` and `B_0` the group's success rate, clipped to lie between `prior_eps` and
`1 - prior_eps`:

    e_k = sum of log p_teacher - log p_student over the tokens of step k
    c_k = gamma c_(k-1) + e_k
    B_k = sigmoid(logit B_0 + c_k)
    q_k = sign(A) (B_k - B_(k-1))
    z_k = (q_k - mean q) / (std q + eps)    over the steps of the episode; std is that of the population
    w_k = clip(1 + alpha_clip z_k, 1 - alpha_clip, 1 + alpha_clip)
    A'  = (1 - lambda_mix) A + lambda_mix w_k A    on the tokens of step k

so no sign changes and `|A' - A| <= lambda_mix alpha_clip |A|`.

Degenerate cases: `lambda_mix = 0`, or a teacher that agrees with the student everywhere, is `grpo` exactly;
so is an episode of one step.

Departures: none known; the equations are those on which two reports of the paper agree. Chosen here, as the
reports leave it open: the population's deviation in z, `prior_eps` (1e-3; one report has 1e-4), and a
`lambda_mix` that does not decay.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap, mixed

_EPS = 1e-6


@dataclass(frozen=True)
class AgentOPSD:
    """GRPO's advantage, weighted by how far each step moves a hindsight teacher's belief in success.

    Attributes:
        lambda_mix: share of the reweighted advantage.
        alpha_clip: the paper's b: slope of the weight, and bound on its distance from 1.
        gamma: how much of earlier evidence remains at the next step.
        prior_eps: least distance from 0 and 1 of the belief before the first step.
        baseline: as in `grpo`.
        std: as in `grpo`.
    """

    lambda_mix: float = 0.5
    alpha_clip: float = 0.2
    gamma: float = 0.95
    prior_eps: float = 1e-3
    baseline: Literal["episode", "step"] = "episode"
    std: bool = True

    paper: ClassVar[str] = "Wang et al. 2026, arXiv 2608.05987"
    needs: ClassVar[frozenset[str]] = LOGPROBS
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"equal_returns_zero", "alone_zero", "base", "signs_kept", "teacher_scales"}
    )

    def __post_init__(self) -> None:
        check_range("lambda_mix", self.lambda_mix, 0.0, 1.0)
        check_range("alpha_clip", self.alpha_clip, 0.0, 1.0)
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("prior_eps", self.prior_eps, 1e-9, 0.5)
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """GRPO's advantages, reweighted by step; GRPO's own when `lambda_mix` is 0."""
        base = GRPO(baseline=self.baseline, std=self.std)(batch)
        if self.lambda_mix == 0.0:
            return base
        step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
        revision = self._revision(batch)
        sign = ops.step_mean(base.advantages, step, batch.num_steps).sign()
        score = ops.standardised(
            sign.double() * revision, episode, batch.num_episodes, eps=_EPS, correction=0
        )
        weight = (1 + self.alpha_clip * score).clamp(1 - self.alpha_clip, 1 + self.alpha_clip)
        weight = weight.to(base.advantages.dtype)
        advantages = mixed(base.advantages, ops.spread_steps(weight, step), self.lambda_mix)
        weighed = base.advantages != 0
        metrics = {
            "gap_abs": float(ops.masked_mean(gap(batch, batch.action_mask).abs(), weighed)),
            "revision_abs": float(ops.masked_mean(revision.abs(), sign != 0)),
            "weight": float(ops.masked_mean(weight, sign != 0)),
        }
        return Credit(advantages, metrics={**base.metrics, **metrics})

    def _revision(self, batch: Batch) -> Tensor:
        """[S] change of the belief at each step; float64, since beliefs near 0 and 1 move little."""
        step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
        group = batch.episodes.group_of_episode
        rate = ops.group_mean(batch.episodes.success.double(), group, int(group.max()) + 1)
        prior = torch.logit(rate, eps=self.prior_eps)[group]
        mean = ops.step_mean(gap(batch, batch.action_mask).double(), step, batch.num_steps)
        evidence = mean * ops.step_count(step, batch.num_steps)
        belief = torch.sigmoid(
            prior[episode] + ops.discounted_so_far(evidence, episode, batch.num_episodes, self.gamma)
        )
        return belief - ops.preceding(belief, episode, torch.sigmoid(prior))
