"""SDPO (arXiv 2601.20802), self-distillation policy optimisation: a teacher that reads feedback, no rewards.

`objective="jsd"`, the paper's, has no advantages. It has a loss at the sampled tokens of the episodes whose
teacher is informed, that is, has read something that the student has not (a successful attempt of the group,
or the outcome):

    L = token_mean(min(p / p_old, ratio_clip) JSD)    over the tokens of these episodes

with JSD the divergence of `opsd` at beta = alpha, and the ratio held constant.

`objective="sampled"`, the authors' variant without distributions, goes through the clipped surrogate with

    A = log p_teacher - log p_student    on the same tokens

which has the gradient of the loss `token_mean(stop(log p - log p_teacher) log p)`.

The paper's teacher is a moving average, `hindsight.teacher=ema` with `hindsight.ema_rate` 0.05, and a success
reads another success with `hindsight.peer_for=all`.

Degenerate cases: a batch in which no teacher is informed gives zero loss or advantages, and so does a teacher
that agrees with the policy everywhere.

Departure: distributions are compared at the teacher's `hindsight.top_k` likeliest tokens and the rest, where
the authors' code takes the student's likeliest.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, DistributionTerm, check_choice, check_range, computed
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap
from stepopsd_agent.ops import distillation, losses


@dataclass(frozen=True)
class SDPO:
    """Distillation of a hindsight teacher that has read feedback, in place of rewards.

    Attributes:
        objective: "jsd" compares next-token distributions, "sampled" the probabilities of the sampled tokens.
        alpha: which divergence "jsd" is. 0: `KL(P_teacher || P)`; 1: `KL(P || P_teacher)`; between them:
            Jensen-Shannon ones.
        ratio_clip: largest importance ratio `p / p_old` of a token.
    """

    objective: Literal["jsd", "sampled"] = "jsd"
    alpha: float = 0.5
    ratio_clip: float = 2.0

    paper: ClassVar[str] = "Huebotter et al. 2026, arXiv 2601.20802"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, ("jsd", "sampled"))
        check_range("alpha", self.alpha, 0.0, 1.0)
        check_range("ratio_clip", self.ratio_clip, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """Informed episodes, and the teacher's distributions or both policies' log-probabilities."""
        return {"jsd": frozenset({"teacher_topk"}), "sampled": LOGPROBS}[self.objective] | {"informed"}

    def __call__(self, batch: Batch) -> Credit:
        """The divergence as a loss term, or the gap as advantages, where the teacher was informed."""
        informed = computed(batch.episodes.informed, "episodes.informed")[batch.steps.episode_of_step]
        old, step = batch.tokens.old_logprobs, batch.tokens.step_of_token
        mask = batch.action_mask & informed[step.clamp(min=0)]
        metrics = {"informed": float(informed.double().mean())}
        if self.objective == "sampled":
            gaps = gap(batch, mask)
            metrics["gap_abs"] = float(ops.masked_mean(gaps.abs(), mask))
            return Credit(gaps, metrics=metrics, may_zero_steps=True)
        computed(batch.teacher_topk, "teacher_topk")
        if not mask.any():
            return Credit(torch.zeros_like(old), metrics=metrics)
        term = DistributionTerm(
            "distillation",
            partial(distillation.weighted_jsd, beta=self.alpha, ratio_clip=self.ratio_clip),
            losses.token_mean(mask, old.dtype),
            (old.detach(),),
        )
        return Credit(torch.zeros_like(old), terms=(term,), metrics=metrics)
