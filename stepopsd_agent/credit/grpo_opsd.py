"""GRPO+OPSD, the baseline of the SDAR paper (arXiv 2605.15155): GRPO and an ungated pull towards the teacher.

    L = L_GRPO + coef token_mean((log p_teacher - log p) / 2)

This is `sdar` with `gate_beta = 0`, a gate that stands half open everywhere, so that with `coef = 0.01` the
pull has 0.005. It raises the likelihood of every sampled token alike; the name notwithstanding, no divergence
to the teacher is estimated.

Degenerate cases: `coef = 0` is `grpo` exactly.

Departure, as for `sdar`: the teacher reads what `hindsight.mode` says, where the authors' reads retrieved
skills.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent.credit.sdar import SDAR


@dataclass(frozen=True)
class GRPOOPSD(SDAR):
    """GRPO's advantage, and a further loss: an ungated pull towards a hindsight teacher.

    Attributes:
        coef: weight of the further loss, the paper's lambda; the gate halves it.
        gate_beta: steepness of the gate; any value but 0 makes the method `sdar`.
        baseline: as in `sdar`.
        std: as in `sdar`.
    """

    gate_beta: float = 0.0

    paper: ClassVar[str] = "baseline in arXiv 2605.15155"
