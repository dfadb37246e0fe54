"""OPSD (arXiv 2601.18734): the policy learns from itself, having read the solution; no reward is used.

objective="jsd" (the paper's): no advantages, but the generalised Jensen-Shannon divergence between the
teacher's and the student's next-token distributions at every sampled token,

    L = token_mean( beta KL(p_teacher || m) + (1 - beta) KL(p_student || m) ),
    m = (1 - beta) p_student + beta p_teacher

with gradient through the student only; beta = 0 stands for KL(p_teacher || p_student), beta = 1 for
KL(p_student || p_teacher).

objective="sampled" (their policy-gradient option): A = log p_teacher - log p_student on every sampled token,
through the clipped surrogate.

Degenerate case: a teacher that agrees with the student everywhere leaves nothing to learn.

Departures: the teacher's distribution is known at its `hindsight.top_k` likeliest tokens, the rest being one
further outcome; with a `top_k` of the whole vocabulary the divergence is the paper's. The recommended teacher
is `hindsight.teacher=initial`.
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
class OPSD:
    """On-policy self-distillation.

    Attributes:
        objective: "jsd" compares distributions, "sampled" the sampled tokens.
        beta: which divergence "jsd" is.
        coef: weight of the "jsd" loss.
    """

    objective: Literal["jsd", "sampled"] = "jsd"
    beta: float = 0.5
    coef: float = 1.0

    paper: ClassVar[str] = "arXiv 2601.18734"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, ("jsd", "sampled"))
        check_range("beta", self.beta, 0.0, 1.0)
        check_range("coef", self.coef, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's distributions, or its and the student's log-probabilities."""
        return frozenset({"teacher_topk"}) if self.objective == "jsd" else LOGPROBS

    def __call__(self, batch: Batch) -> Credit:
        """The divergence as a loss term, or the gap as advantages."""
        mask = batch.action_mask
        if self.objective == "sampled":
            gaps = gap(batch, mask)
            metrics = {"gap_abs": float(ops.masked_mean(gaps.abs(), mask))}
            return Credit(gaps, metrics=metrics, may_zero_steps=True)
        computed(batch.teacher_topk, "teacher_topk")
        old = batch.tokens.old_logprobs
        term = DistributionTerm(
            "distillation",
            partial(losses.distribution_jsd, beta=self.beta),
            self.coef * losses.token_mean(mask, old.dtype),
        )
        return Credit(torch.zeros_like(old), terms=(term,))
