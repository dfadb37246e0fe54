"""OPSD (arXiv 2601.18734), on-policy self-distillation: the policy learns from itself in hindsight.

No reward is used. `objective="jsd"`, the paper's, has no advantages either. Its loss is the generalised
Jensen-Shannon divergence of the teacher's and the policy's next-token distributions, `P_teacher` and `P`, at
every sampled token:

    L = coef token_mean(beta KL(P_teacher || M) + (1 - beta) KL(P || M))
    M = (1 - beta) P + beta P_teacher

The gradient flows through `P` alone. `beta = 0` stands for `KL(P_teacher || P)`, `beta = 1` for
`KL(P || P_teacher)`.

`objective="sampled"`, the authors' policy-gradient option, goes through the clipped surrogate with

    A = log p_teacher - log p_student    on every sampled token

The recommended teacher has the initial weights, `hindsight.teacher=initial`.

Degenerate cases: a teacher that agrees with the policy everywhere gives zero loss, or zero advantages.

Departure: the teacher's distribution is kept at its `hindsight.top_k` (100) likeliest tokens, and the rest is
one further outcome. `hindsight.top_k=0` keeps the whole vocabulary, which is the paper's divergence.
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
class OPSD:
    """Distillation of a hindsight teacher's next-token distributions; no reward.

    Attributes:
        objective: "jsd" compares next-token distributions, "sampled" the probabilities of the sampled tokens.
        beta: which divergence "jsd" is. 0: `KL(P_teacher || P)`; 1: `KL(P || P_teacher)`; between them:
            Jensen-Shannon ones.
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
            partial(distillation.distribution_jsd, beta=self.beta),
            self.coef * losses.token_mean(mask, old.dtype),
        )
        return Credit(torch.zeros_like(old), terms=(term,))
