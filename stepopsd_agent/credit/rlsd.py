"""RLSD (arXiv 2604.03128): GRPO's advantage, weighted token by token with the teacher's probability ratio.

With A the advantage of `grpo`, on every sampled token:

    D  = log p_teacher - log p_student
    w  = clip(exp(sign(A) D), 1 - alpha_clip, 1 + alpha_clip)
    A' = (1 - lambda_mix) A + lambda_mix w A

so no sign changes and `|A' - A| <= lambda_mix alpha_clip |A|`. Unlike in `step_opsd`, steps are not
normalised to equal size afterwards. `lambda_mix` falls to 0 in training; published code for ALFWorld takes
100 updates (`schedule.decay_updates`).

Degenerate cases: `lambda_mix = 0`, or a teacher that agrees with the student everywhere, is `grpo` exactly.

Departure: `hindsight.mode` says what the teacher reads. In the paper it reads a reference solution, in the
code for ALFWorld retrieved skills.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap, gap_weight, mixed


@dataclass(frozen=True)
class RLSD:
    """GRPO's advantage, weighted at every token by the probability ratio of a hindsight teacher.

    Attributes:
        lambda_mix: share of the reweighted advantage at the beginning of training.
        alpha_clip: bound on the distance of a token's weight from 1.
        baseline: as in `grpo`.
        std: as in `grpo`.
    """

    lambda_mix: float = 0.5
    alpha_clip: float = 0.2
    baseline: Literal["episode", "step"] = "episode"
    std: bool = True

    paper: ClassVar[str] = "arXiv 2604.03128"
    needs: ClassVar[frozenset[str]] = LOGPROBS
    scheduled: ClassVar[frozenset[str]] = frozenset({"lambda_mix"})
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"equal_returns_zero", "alone_zero", "base", "signs_kept", "teacher_scales"}
    )

    def __post_init__(self) -> None:
        check_range("lambda_mix", self.lambda_mix, 0.0, 1.0)
        check_range("alpha_clip", self.alpha_clip, 0.0, 1.0)
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """GRPO's advantages, reweighted; GRPO's own when `lambda_mix` is 0."""
        base = GRPO(baseline=self.baseline, std=self.std)(batch)
        if self.lambda_mix == 0.0:
            return base
        mask = batch.action_mask
        gaps = gap(batch, mask)
        raw = gap_weight(base.advantages, gaps, "exp")
        weight = raw.clamp(1 - self.alpha_clip, 1 + self.alpha_clip)
        weighed = mask & (base.advantages != 0)
        metrics = {
            "gap_abs": float(ops.masked_mean(gaps.abs(), weighed)),
            "weight": float(ops.masked_mean(weight, weighed)),
            "weight_clipped": float(ops.masked_mean((raw != weight).to(gaps.dtype), weighed)),
        }
        advantages = mixed(base.advantages, weight, self.lambda_mix)
        return Credit(advantages, metrics={**base.metrics, **metrics})
