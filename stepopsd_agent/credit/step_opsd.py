"""StepOPSD (arXiv 2605.27140): GRPO's credit, redistributed by what a hindsight teacher thinks of each token.

With A the GRPO advantage and D = log p_teacher - log p_student on the tokens of a step's span, 0 elsewhere:

    w_raw = 2 sigmoid(sign(A) D)          (weight="exp": exp(sign(A) D), the form of RLSD, arXiv 2604.03128)
    w = clip(w_raw, 1 - alpha_clip, 1 + alpha_clip)
    A' = (1 - lambda_mix) A + lambda_mix w A

so signs are kept and |A' - A| <= lambda_mix alpha_clip |A|. Then every step of an episode with two or more
gets the same mean |A'|, as far as a bounded coefficient can ("equal_step_mean_abs"):

    mu_k = mean |A'| over the span of step k,  mu = mean of the mu_k
    c_k = clip(mu / mu_k, 1/coef_clip, coef_clip)
    A' <- c_k A' on the span of step k

Degenerate cases: lambda_mix = 0, or a teacher that agrees with the student everywhere, is GRPO exactly (the
latter not under "equal_step_sum", which equalises sums over steps of unequal length).

GRPO's A is uniform over an episode, so "equal_step_mean_abs" leaves only the redistribution within steps;
step_norm="none" is what moves credit between them.

Departures: mu / mu_k is taken as (mu + eps) / (mu_k + eps), the authors' as mu / (mu_k + eps); the former is
exactly 1 where all steps agree. In every public commit of their code the normaliser is off, whatever its
option says; here the default is the paper's. "equal_step_sum" (sums of |A'| instead of means) is not theirs.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.batch.spans import SPANS, Span, span_mask
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.teacher_gap import LOGPROBS, gap, gap_weight, mixed

_EPS = 1e-6


@dataclass(frozen=True)
class StepOPSD:
    """Step-level credit from a hindsight teacher.

    Attributes:
        lambda_mix: share of the reweighted advantage; the paper lets it fall to 0 over 50 updates.
        alpha_clip: how far a weight may leave 1.
        weight: "sigmoid" or "exp" of the signed gap.
        step_norm: "equal_step_mean_abs", "equal_step_sum" or "none".
        coef_clip: bound of the normaliser's coefficients, from 1/coef_clip to coef_clip.
        span: "turn" weighs all that a step sampled (the paper's choice for Search-QA), "action" its action
            alone (for ALFWorld), "answer" the actions that answer, "final_answer" the last of them.
        baseline: of GRPO.
        std: of GRPO.
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
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero", "base"})

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
        metrics = {
            "gap_abs": float(ops.masked_mean(gaps.abs(), span)),
            "weight": float(ops.masked_mean(weight, span)),
            "weight_clipped": float(ops.masked_mean((raw != weight).to(gaps.dtype), span)),
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
