"""GRPO+OPSD, the baseline of the SDAR paper (arXiv 2605.15155): GRPO and an ungated pull towards the teacher.

    L = L_GRPO + coef token_mean( (log p_teacher - log p) / 2 )

which is `sdar` with gate_beta = 0: its gate stands half open everywhere, so that with coef = 0.01 the pull
has 0.005. It raises the likelihood of every sampled token alike; the name notwithstanding, no divergence to
the teacher is estimated.

Degenerate case and departures: those of `sdar`.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent.credit.sdar import SDAR


@dataclass(frozen=True)
class GRPOOPSD(SDAR):
    """GRPO with ungated self-distillation.

    The attributes are those of `sdar`.
    """

    gate_beta: float = 0.0

    paper: ClassVar[str] = "baseline in arXiv 2605.15155"
