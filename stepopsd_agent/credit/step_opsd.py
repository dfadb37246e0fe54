"""StepOPSD (arXiv 2605.27140): GRPO's advantage, redistributed by a teacher that has read how episodes ended.

With A the advantage of `grpo` and D the teacher's gap on the tokens of a step's span, 0 elsewhere:

    D  = log p_teacher - log p_student
    w  = clip(2 sigmoid(sign(A) D), 1 - alpha_clip, 1 + alpha_clip)
    A' = (1 - lambda_mix) A + lambda_mix w A

so no sign changes and `|A' - A| <= lambda_mix alpha_clip |A|`. `weight="exp"` takes `exp(sign(A) D)` before
the clip, the form of `rlsd`. Then the steps of an episode are brought to equal mean `|A'|`, as far as a
bounded factor can (`step_norm="equal_step_mean_abs"`):

    m_k = mean |A'| over the span of step k
    m   = mean of the m_k of the episode
    c_k = clip(m / m_k, 1/coef_clip, coef_clip)
    A' <- c_k A' on the span of step k

GRPO's A is the same all over an episode, so with `"equal_step_mean_abs"` credit moves within steps only; with
`step_norm="none"` it also moves between steps. Spans are ranges of the ids that were sampled; no text is
tokenised again.

Degenerate cases:

- `lambda_mix = 0`, as after the schedule's end, is `grpo` exactly.
- So is a teacher that agrees with the student everywhere, except with `"equal_step_sum"`, which equalises
  sums over steps of unequal length.
- Steps with an empty span are not changed, and neither is the only step of an episode that has a span.

Departures:

- `m / m_k` is taken as `(m + eps) / (m_k + eps)`, by the authors as `m / (m_k + eps)`; the former is exactly
  1 where all steps agree.
- In every public commit of the authors' code the normaliser is off, whatever its option says; the default
  here is the paper's.
- `"equal_step_sum"`, sums of `|A'|` instead of means, is an addition.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import SPANS, Batch, Span, span_mask
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap, gap_weight, mixed

_EPS = 1e-6


@dataclass(frozen=True)
class StepOPSD:
    """GRPO's advantage, redistributed over tokens and steps by a hindsight teacher.

    Attributes:
        lambda_mix: share of the reweighted advantage. The paper lets it fall to 0 over 50 updates, as
            `schedule.decay_updates` does; `schedule.kind=constant` leaves it.
        alpha_clip: bound on the distance of a token's weight from 1.
        weight: before the clip: `2 sigmoid(sign(A) D)` with "sigmoid", `exp(sign(A) D)` with "exp".
        step_norm: "equal_step_mean_abs" brings the steps of an episode to equal mean `|A'|`, "equal_step_sum"
            to equal sums of it; "none" leaves them unequal.
        coef_clip: bound of the factors that do so, from `1/coef_clip` to `coef_clip`.
        span: the tokens of a step that are reweighted. "turn": all that it sampled (the paper's choice for
            Search-QA); "action": its action alone (for ALFWorld); "answer": the actions that answer;
            "final_answer": an answer that is its episode's last step.
        baseline: as in `grpo`.
        std: as in `grpo`.
    """

    lambda_mix: float = 0.2
    alpha_clip: float = 0.2
    weight: Literal["sigmoid", "exp"] = "sigmoid"
    step_norm: Literal["none", "equal_step_mean_abs", "equal_step_sum"] = "equal_step_mean_abs"
    coef_clip: float = 2.0
    span: Span = "turn"
    baseline: Literal["episode", "step"] = "episode"
    std: bool = True

    paper: ClassVar[str] = "Zhang et al. 2026, arXiv 2605.27140"
    needs: ClassVar[frozenset[str]] = LOGPROBS
    scheduled: ClassVar[frozenset[str]] = frozenset({"lambda_mix"})
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"equal_returns_zero", "alone_zero", "base", "teacher_scales"}
    )

    def __post_init__(self) -> None:
        check_range("lambda_mix", self.lambda_mix, 0.0, 1.0)
        check_range("alpha_clip", self.alpha_clip, 0.0, 1.0)
        check_choice("weight", self.weight, ("sigmoid", "exp"))
        check_choice("step_norm", self.step_norm, ("none", "equal_step_mean_abs", "equal_step_sum"))
        check_range("coef_clip", self.coef_clip, 1.0)
        check_choice("span", self.span, SPANS)
        check_choice("baseline", self.baseline, ("episode", "step"))

    def __call__(self, batch: Batch) -> Credit:
        """GRPO's advantages, reweighted and normalised; GRPO's own when `lambda_mix` is 0."""
        base = GRPO(baseline=self.baseline, std=self.std)(batch)
        if self.lambda_mix == 0.0:
            return base
        span = span_mask(batch, self.span)
        gaps = gap(batch, span)
        raw = gap_weight(base.advantages, gaps, self.weight)
        weight = raw.clamp(1 - self.alpha_clip, 1 + self.alpha_clip)
        uneven = mixed(base.advantages, weight, self.lambda_mix)
        step_of_span = torch.where(span, batch.tokens.step_of_token, -1)
        shaped = uneven
        if self.step_norm != "none":
            sizes = _sizes(uneven, step_of_span, batch.num_steps, sums=self.step_norm == "equal_step_sum")
            coefficients = equal_step_coefficients(sizes, step_of_span, batch, self.coef_clip)
            shaped = torch.where(span, uneven * ops.spread_steps(coefficients, step_of_span), uneven)
        weighed = span & (base.advantages != 0)
        metrics = {
            "gap_abs": float(ops.masked_mean(gaps.abs(), weighed)),
            "weight": float(ops.masked_mean(weight, weighed)),
            "weight_clipped": float(ops.masked_mean((raw != weight).to(gaps.dtype), weighed)),
            "step_spread_mixed": step_spread(uneven, step_of_span, batch),
            "step_spread": step_spread(shaped, step_of_span, batch),
        }
        return Credit(shaped, metrics={**base.metrics, **metrics})


def _sizes(advantages: Tensor, step_of_span: Tensor, steps: int, *, sums: bool) -> Tensor:
    """[S] mean |A| over each step's span, or their sum; 0 for an empty span."""
    mean = ops.step_mean(advantages.abs(), step_of_span, steps)
    return mean * ops.step_count(step_of_span, steps) if sums else mean


def equal_step_coefficients(sizes: Tensor, step_of_span: Tensor, batch: Batch, coef_clip: float) -> Tensor:
    """[S] factors that bring `sizes` of an episode's steps to their mean, within 1/coef_clip to coef_clip.

    Steps with an empty span do not count and get 1; the only counting step of an episode is its own mean.
    """
    episode = batch.steps.episode_of_step
    present = ops.step_count(step_of_span, batch.num_steps) > 0
    target = ops.group_mean(sizes[present], episode[present], batch.num_episodes)
    ratio = (target[episode] + _EPS) / (sizes + _EPS)
    return torch.where(present, ratio.clamp(1 / coef_clip, coef_clip), 1)


def step_spread(advantages: Tensor, step_of_span: Tensor, batch: Batch) -> float:
    """How unequal steps are: mean over steps of |mu_k / mu - 1|, mu_k as in the module's text.

    Counted are episodes with credit and at least two spans; 0 if there is none, or all steps weigh the same.
    """
    episode = batch.steps.episode_of_step
    present = ops.step_count(step_of_span, batch.num_steps) > 0
    sizes = _sizes(advantages, step_of_span, batch.num_steps, sums=False)
    mean = ops.group_mean(sizes[present], episode[present], batch.num_episodes)[episode]
    several = ops.group_count(episode[present], batch.num_episodes)[episode] >= 2
    counted = present & several & (mean > 0)
    unequal = (sizes / torch.where(counted, mean, 1) - 1).abs()
    return float(ops.masked_mean(unequal, counted))
