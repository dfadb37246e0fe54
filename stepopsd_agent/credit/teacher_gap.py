"""The gap between teacher and student, and the weights that teacher methods derive from it.

The teacher is the policy itself, or earlier weights of it, reading one more block of text: how the attempt
ended, a successful attempt of the same group, or both (`hindsight.mode`). At every sampled token the gap

    D = log p_teacher - log p_student

(in nats) says how much likelier the token is in hindsight. Methods that weight an advantage A by it use

    w = 2 sigmoid(sign(A) D)    or    w = exp(sign(A) D)

which is 1 where `D = 0`, and above 1 where the teacher agrees with the sign of A: in an episode better than
its group a token that is likelier in hindsight gets more positive credit, in a worse one a token that is less
likely gets more negative credit. The clipped weight is mixed in:

    w  <- clip(w, 1 - alpha_clip, 1 + alpha_clip)
    A' =  (1 - lambda_mix) A + lambda_mix w A

so that no sign changes and `|A' - A| <= lambda_mix alpha_clip |A|`.

Departure, shared by these methods: `hindsight.mode` says what the teacher reads, where in some of the papers
it reads reference solutions or retrieved skills.
"""

from typing import Literal

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import computed

LOGPROBS = frozenset({"student_logprobs", "teacher_logprobs"})
"""The columns that `gap` reads."""


def gap(batch: Batch, span: Tensor) -> Tensor:
    """[N, T] log p_teacher - log p_student where `span` [N, T] is True, 0 elsewhere, without gradient."""
    teacher = computed(batch.tokens.teacher_logprobs, "tokens.teacher_logprobs")
    student = computed(batch.tokens.student_logprobs, "tokens.student_logprobs")
    return torch.where(span, teacher.detach() - student.detach(), 0)


def gap_weight(advantages: Tensor, gaps: Tensor, weight: Literal["sigmoid", "exp"]) -> Tensor:
    """[N, T] weights before clipping: above 1 where the teacher's gap agrees with the advantage's sign.

    "sigmoid": 2 sigmoid(sign(A) gap), in (0, 2). "exp": exp(sign(A) gap). Both are 1 where the gap is 0.
    """
    signed = advantages.sign() * gaps
    return signed.exp() if weight == "exp" else 2 * torch.sigmoid(signed)


def mixed(advantages: Tensor, weight: Tensor, lambda_mix: float) -> Tensor:
    """(1 - lambda) A + lambda w A, written so that it is A without rounding where w = 1."""
    return advantages + lambda_mix * (weight - 1) * advantages
