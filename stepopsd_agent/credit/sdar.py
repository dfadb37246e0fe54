"""SDAR (arXiv 2605.15155): GRPO's advantages, and beside them a gated pull towards the teacher.

    L = L_GRPO + coef token_mean(g (log p_teacher - log p))
    g = sigmoid(gate_beta (log p_teacher - log p)), held constant

The further loss raises the log-probability of the sampled tokens, most where they are likelier under the
teacher than under the policy, and its gradient never lowers one.

Degenerate cases: `coef = 0` is `grpo` exactly. Where the teacher agrees with the policy the gate is 1/2, and
the pull remains.

Departures:

- Only the paper's gate on the gap is implemented, not those on entropy.
- `hindsight.mode` says what the teacher reads, where the authors' reads retrieved skills.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, LossTerm, check_choice, check_range, computed
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.ops import distillation, losses


@dataclass(frozen=True)
class SDAR:
    """GRPO's advantage, and a further loss: a gated pull towards a hindsight teacher.

    Attributes:
        coef: weight of the further loss, the paper's lambda.
        gate_beta: steepness of the gate, the paper's beta; 0 makes it 1/2 everywhere.
        baseline: as in `grpo`; the authors' code counts steps.
        std: as in `grpo`.
    """

    coef: float = 0.01
    gate_beta: float = 5.0
    baseline: Literal["episode", "step"] = "step"
    std: bool = True

    paper: ClassVar[str] = "arXiv 2605.15155"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher_logprobs"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero", "base"})

    def __post_init__(self) -> None:
        check_range("coef", self.coef, 0.0)
        check_range("gate_beta", self.gate_beta, 0.0)
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """GRPO's advantages and the gated term."""
        base = GRPO(baseline=self.baseline, std=self.std)(batch)
        if self.coef == 0.0:
            return base
        teacher = computed(batch.tokens.teacher_logprobs, "tokens.teacher_logprobs").detach()
        term = LossTerm(
            "distillation",
            partial(distillation.gated_distillation, gate_beta=self.gate_beta),
            self.coef * losses.token_mean(batch.action_mask, teacher.dtype),
            (teacher,),
        )
        return Credit(base.advantages, terms=(term,), metrics=base.metrics)
