"""GRPO+OPSD, the baseline of the SDAR paper (arXiv 2605.15155): GRPO and an ungated pull towards the teacher.

    L = L_GRPO + coef token_mean((log p_teacher - log p) / 2)

This is `sdar` with `gate_beta = 0`, a gate of 1/2 at every token, so that `coef = 0.01` gives the pull a
coefficient of 0.005. It raises the log-probability of every sampled token alike: despite the name, it does
not estimate a divergence to the teacher.

Degenerate cases: `coef = 0` is `grpo` exactly.

Departure, as for `sdar`: `hindsight.mode` says what the teacher reads, where the authors' reads retrieved
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
