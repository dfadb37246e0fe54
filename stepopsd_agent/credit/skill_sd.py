"""Skill-SD (arXiv 2604.10674): GRPO's advantages, and an importance-weighted divergence to the teacher.

    l = log p - log p_teacher
    r = p / p_old
    L = L_GRPO + coef token_mean(r (exp(-l) - 1 + l))

The gradient flows through both factors. -l is at most 20, and log r at most 10.

Degenerate cases: `coef = 0` is `grpo` exactly; where the policy equals the teacher the further loss and its
gradient are zero.

Departure: `hindsight.mode` says what the teacher reads, where the paper's reads skills summarised from the
agent's own trajectories.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, LossTerm, check_choice, check_range, computed
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.ops import distillation, losses


@dataclass(frozen=True)
class SkillSD:
    """GRPO's advantage, and a further loss: an importance-weighted divergence to a hindsight teacher.

    Attributes:
        coef: weight of the further loss, the paper's lambda.
        baseline: as in `grpo`.
        std: as in `grpo`.
    """

    coef: float = 0.001
    baseline: Literal["episode", "step"] = "episode"
    std: bool = True

    paper: ClassVar[str] = "arXiv 2604.10674"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher_logprobs"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero", "base"})

    def __post_init__(self) -> None:
        check_range("coef", self.coef, 0.0)
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """GRPO's advantages and the distillation term."""
        base = GRPO(baseline=self.baseline, std=self.std)(batch)
        if self.coef == 0.0:
            return base
        teacher = computed(batch.tokens.teacher_logprobs, "tokens.teacher_logprobs").detach()
        term = LossTerm(
            "distillation",
            distillation.importance_k3,
            self.coef * losses.token_mean(batch.action_mask, teacher.dtype),
            (teacher, batch.tokens.old_logprobs.detach()),
        )
        return Credit(base.advantages, terms=(term,), metrics=base.metrics)
