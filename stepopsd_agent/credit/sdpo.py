"""SDPO (Huebotter et al., arXiv 2601.20802): distillation from oneself with feedback, in place of rewards.

objective="jsd" (the paper's): no advantages, but a loss at every sampled token of the steps whose teacher has
read something that the student has not (a successful attempt of the group, the outcome):

    L = token_mean( min(p / p_old, ratio_clip) JSD )

with JSD as in `opsd` at beta = alpha, the ratio held constant.

objective="sampled" (their variant without distributions): token_mean( stop(log p - log p_teacher) log p ),
the same as advantages log p_teacher - log p_student, through the clipped surrogate.

Degenerate case: a batch in which no teacher is informed gives nothing to learn.

Departures: distributions are compared at the teacher's `hindsight.top_k` likeliest tokens and the rest, the
authors' code takes the student's. Their teacher is `hindsight.teacher=ema`, and a success reads another
success with `hindsight.peer_for=all`.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, DistributionTerm, check_choice, check_range, computed
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap
from stepopsd_agent.ops import losses


@dataclass(frozen=True)
class SDPO:
    """Self-distillation policy optimisation.

    Attributes:
        objective: "jsd" compares distributions, "sampled" the sampled tokens.
        alpha: which divergence "jsd" is: 0 forward, 1 reverse, between them Jensen-Shannon.
        ratio_clip: largest importance ratio of a token.
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
        """Who was informed, and the teacher's distributions or its and the student's log-probabilities."""
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
            partial(losses.weighted_jsd, beta=self.alpha, ratio_clip=self.ratio_clip),
            losses.token_mean(mask, old.dtype),
            (old.detach(),),
        )
        return Credit(torch.zeros_like(old), terms=(term,), metrics=metrics)
