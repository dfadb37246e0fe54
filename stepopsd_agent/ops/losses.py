"""Per-token losses and the weights that turn them into one number.

Every loss returns [N, T], one number per token, and `token_weights` gives [N, T] weights so that
`(weights * per_token).sum()` is the loss for every way of aggregating. Weights made once from the whole batch
make micro-batches add up to the very same loss and gradient. Log-probabilities are in nats; gradients flow
through `logprobs` only.
"""

from typing import get_args

import torch
from torch import Tensor

from stepopsd_agent.config import Aggregation

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to this before `exp`, so that one odd token cannot make the loss infinite."""
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
    """Schulman's k3 estimate of KL(policy || reference) per token, [N, T], at least 0 but for rounding.

    With d = ref_logprobs - logprobs: exp(d) - d - 1, d within +-`MAX_LOG_RATIO`, the result at most `MAX_KL`.
    """
    check_shapes(logprobs, ref_logprobs)
    difference = (ref_logprobs.detach() - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (difference.exp() - difference - 1).clamp(max=MAX_KL)


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
    check_shapes(mask, sequence_of_token)
    _, which, counts = torch.unique(sequence_of_token[mask], return_inverse=True, return_counts=True)
    lengths = torch.ones_like(sequence_of_token).masked_scatter(mask, counts[which])
    return lengths, torch.tensor(len(counts), device=mask.device)


def _surrogates(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """-A r and -A clip(r); old log-probabilities and advantages are constants."""
    check_shapes(logprobs, old_logprobs, advantages)
    log_ratio = (logprobs - old_logprobs.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio, constant = log_ratio.exp(), advantages.detach()
    return -constant * ratio, -constant * ratio.clamp(1 - clip_low, 1 + clip_high)


def _check_clip(clip_low: float, clip_high: float) -> None:
    if not 0 <= clip_low <= 1 or clip_high < 0:
        raise ValueError(
            f"clip_low is {clip_low}, clip_high {clip_high}; allowed: 0 <= clip_low <= 1, clip_high >= 0"
        )


def check_shapes(first: Tensor, *others: Tensor) -> None:
    """Refuse tensors of different shapes."""
    for other in others:
        if other.shape != first.shape:
            raise ValueError(f"shapes must agree, got {tuple(first.shape)} and {tuple(other.shape)}")
