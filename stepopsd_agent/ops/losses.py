"""Per-token losses and the weights that turn them into one number.

Every loss returns [N, T], one number per token, and `token_weights` gives [N, T] weights so that
`(weights * per_token).sum()` is the loss for every way of aggregating. Weights made once from the whole batch
make micro-batches add up to the very same loss and gradient. Log-probabilities are in nats; gradients flow
through `logprobs` only.
"""

import math
from typing import get_args

import torch
from torch import Tensor

from stepopsd_agent.config import Aggregation

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to this before `exp`, so that one odd token cannot make the loss infinite."""
_MAX_IMPORTANCE = 10.0
MAX_KL = 10.0
"""Largest k3 estimate of one token; beyond it the token has no gradient."""


def ppo_clip(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float = 3.0,
) -> Tensor:
    """The clipped surrogate (Schulman et al. 2017) with dual clipping (Ye et al. 2020), [N, T].

    With r = exp(logprobs - old_logprobs): max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)), and where
    A < 0 at most -A dual_clip. All inputs are [N, T]. At logprobs = old_logprobs value and gradient are -A.
    """
    _check_clip(clip_low, clip_high)
    if dual_clip <= 1:
        raise ValueError(
            f"dual_clip is {dual_clip}; it bounds the ratio for negative advantages and must be above 1"
        )
    plain, clipped = _surrogates(logprobs, old_logprobs, advantages, clip_low, clip_high)
    worst = torch.maximum(plain, clipped)
    return torch.where(advantages < 0, torch.minimum(worst, -advantages.detach() * dual_clip), worst)


def ppo_clipped(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Tensor:
    """[N, T] bool, True where the clip decides the surrogate and so stops the token's gradient.

    A ratio outside the interval on the side the advantage pulls away from is not clipped and not counted.
    """
    _check_clip(clip_low, clip_high)
    plain, clipped = _surrogates(logprobs, old_logprobs, advantages, clip_low, clip_high)
    return clipped > plain


def k3_kl(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) per token, [N, T], never negative.

    With d = ref_logprobs - logprobs: exp(d) - d - 1, d within +-`MAX_LOG_RATIO`, the result at most `MAX_KL`.
    """
    _check_shapes(logprobs, ref_logprobs)
    difference = (ref_logprobs.detach() - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (difference.exp() - difference - 1).clamp(max=MAX_KL)


def gated_distillation(logprobs: Tensor, teacher_logprobs: Tensor, *, gate_beta: float) -> Tensor:
    """The teacher's gap on sampled tokens behind a gate (SDAR, arXiv 2605.15155), [N, T].

    g (log p_teacher - log p), with g = sigmoid(gate_beta (log p_teacher - log p)) held constant. With
    gate_beta = 0 the gate is 1/2 everywhere, the baseline known as GRPO+OPSD.
    """
    _check_shapes(logprobs, teacher_logprobs)
    teacher = teacher_logprobs.detach()
    gate = torch.sigmoid(gate_beta * (teacher - logprobs.detach()))
    return gate * (teacher - logprobs)


def importance_k3(logprobs: Tensor, teacher_logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """Skill-SD's importance-weighted divergence to the teacher (arXiv 2604.10674), [N, T].

    With l = log p - log p_teacher and r = p / p_old: r (exp(-l) - 1 + l), -l at most `MAX_LOG_RATIO` and
    log r at most 10. The gradient flows through both factors; zero, as its gradient, where p = p_teacher.
    """
    _check_shapes(logprobs, teacher_logprobs, old_logprobs)
    log_inverse = (teacher_logprobs.detach() - logprobs).clamp(max=MAX_LOG_RATIO)
    ratio = (logprobs - old_logprobs.detach()).clamp(max=_MAX_IMPORTANCE).exp()
    return ratio * (log_inverse.exp() - 1 - log_inverse)


def distribution_jsd(
    logprobs: Tensor, student: Tensor, teacher_ids: Tensor, teacher_logprobs: Tensor, *, beta: float
) -> Tensor:
    """Generalised Jensen-Shannon divergence of next-token distributions (OPSD, arXiv 2601.18734), [M].

    beta KL(T || m) + (1 - beta) KL(S || m) with m = (1 - beta) S + beta T; beta = 0 stands for KL(T || S),
    beta = 1 for KL(S || T). What the teacher's K tokens leave over is one further outcome, unless K is the
    whole vocabulary. The gradient flows through `student`.

    Args:
        logprobs: [M] of the sampled tokens; not used.
        student: [M, V] log-probabilities.
        teacher_ids: [M, K], different ones in a row.
        teacher_logprobs: [M, K] of these tokens.
        beta: in [0, 1].
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is {beta}; it must lie in [0, 1]")
    _check_shapes(logprobs, student[:, 0], teacher_ids[:, 0])
    ours, theirs = student.gather(1, teacher_ids), teacher_logprobs.detach()
    if teacher_ids.shape[1] < student.shape[1]:
        ours, theirs = _with_rest(ours), _with_rest(theirs)
    if beta == 0:
        return _kl(theirs, ours)
    if beta == 1:
        return _kl(ours, theirs)
    middle = torch.logaddexp(ours + math.log(1 - beta), theirs + math.log(beta))
    return beta * _kl(theirs, middle) + (1 - beta) * _kl(ours, middle)


def weighted_jsd(
    logprobs: Tensor,
    student: Tensor,
    teacher_ids: Tensor,
    teacher_logprobs: Tensor,
    old_logprobs: Tensor,
    *,
    beta: float,
    ratio_clip: float,
) -> Tensor:
    """`distribution_jsd` times the constant min(p / p_old, ratio_clip) (SDPO, arXiv 2601.20802), [M]."""
    _check_shapes(logprobs, old_logprobs)
    log_ratio = (logprobs - old_logprobs).detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    divergence = distribution_jsd(logprobs, student, teacher_ids, teacher_logprobs, beta=beta)
    return log_ratio.exp().clamp(max=ratio_clip) * divergence


def _with_rest(logprobs: Tensor) -> Tensor:
    """[M, K + 1]: the log-probability of everything else appended, at least about 1e-7."""
    total = torch.logsumexp(logprobs, dim=1, keepdim=True).clamp(max=-1e-7)
    return torch.cat([logprobs, torch.log(-torch.expm1(total))], dim=1)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """[M] KL(first || second) of log-probabilities [M, K]; an outcome that is impossible in first adds 0."""
    difference = torch.where(first == -torch.inf, 0, first - second)
    return (first.exp() * difference).sum(1)


def token_mean(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[N, T] weights of `token-mean` in this type."""
    return token_weights(mask, "token-mean").to(dtype)


def token_weights(
    mask: Tensor,
    aggregation: Aggregation,
    *,
    sequence_of_token: Tensor | None = None,
    horizon: int | None = None,
) -> Tensor:
    """Weights [N, T] with which per-token losses are summed; zero where `mask` is False.

    - `token-mean`: every token the same; the weights sum to 1.
    - `seq-mean-token-mean`: every sequence the same, and within it every token; the weights sum to 1.
    - `seq-mean-token-sum`: mean over sequences of their sums.
    - `seq-mean-token-sum-norm`: the same divided by `horizon`, a constant (Dr. GRPO, arXiv 2503.20783).

    Args:
        mask: [N, T] bool, True at the tokens trained on.
        aggregation: one of the four.
        sequence_of_token: [N, T] ids of the sequences, read where the mask is True; rows if None.
        horizon: the constant of `seq-mean-token-sum-norm`, which must be given one.

    Raises:
        ValueError: the mask selects nothing, the aggregation is unknown, or it lacks its horizon.
    """
    if aggregation not in get_args(Aggregation):
        allowed = ", ".join(get_args(Aggregation))
        raise ValueError(f"aggregation is {aggregation!r}; it must be one of {allowed}")
    if aggregation == "seq-mean-token-sum-norm" and not horizon:
        raise ValueError(f"{aggregation} divides by a constant: give horizon, such as a row's most tokens")
    if mask.dtype != torch.bool or mask.dim() != 2:
        raise TypeError(
            f"the mask must be [N, T] torch.bool, got {mask.dtype} {tuple(mask.shape)}: is it a mask?"
        )
    if not mask.any():
        raise ValueError("the mask selects no token, so there is no loss; leave such a batch out")
    if aggregation == "token-mean":
        return mask.float() / mask.sum()
    tokens_of_own, sequences = _sequence_lengths(mask, sequence_of_token)
    if aggregation == "seq-mean-token-mean":
        return mask.float() / (tokens_of_own * sequences)
    divisor = horizon if horizon and aggregation == "seq-mean-token-sum-norm" else 1
    return mask.float() / (sequences * divisor)


def _sequence_lengths(mask: Tensor, sequence_of_token: Tensor | None) -> tuple[Tensor, Tensor]:
    """For each selected token the length of its sequence ([N, T], 1 elsewhere), and how many sequences."""
    if sequence_of_token is None:
        sequence_of_token = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)
    _check_shapes(mask, sequence_of_token)
    _, which, counts = torch.unique(sequence_of_token[mask], return_inverse=True, return_counts=True)
    lengths = torch.ones_like(sequence_of_token).masked_scatter(mask, counts[which])
    return lengths, torch.tensor(len(counts), device=mask.device)


def _surrogates(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """-A r and -A clip(r); old log-probabilities and advantages are constants."""
    _check_shapes(logprobs, old_logprobs, advantages)
    log_ratio = (logprobs - old_logprobs.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio, constant = log_ratio.exp(), advantages.detach()
    return -constant * ratio, -constant * ratio.clamp(1 - clip_low, 1 + clip_high)


def _check_clip(clip_low: float, clip_high: float) -> None:
    if not 0 <= clip_low <= 1 or clip_high < 0:
        raise ValueError(
            f"clip_low is {clip_low}, clip_high {clip_high}; allowed: 0 <= clip_low <= 1, clip_high >= 0"
        )


def _check_shapes(first: Tensor, *others: Tensor) -> None:
    for other in others:
        if other.shape != first.shape:
            raise ValueError(f"shapes must agree, got {tuple(first.shape)} and {tuple(other.shape)}")
