"""The distance between an engine that sampled and the learner, and weights that correct for it.

An engine of its own kernels and number formats gives a token another probability than the learner does, by
the very same weights. With rho = exp(log p_learner - log p_engine) of a sampled token, E[rho f] under the
engine is E[f] under the learner: rho is an importance weight. It is bounded before it is used, or one odd
token decides the update:

- truncated: min(rho, cap) (TIS, https://fengyao.notion.site/off-policy-rl; verl's cap is 2);
- masked: rho where low <= rho <= high, else 0 (IcePop, arXiv 2510.18855, with 0.5 and 5).

For episodes of many steps the product over an episode is nearly always extreme, so the unit is the token, or
the step: there rho is the product over the step's tokens.
"""

import torch
from torch import Tensor

from stepopsd_agent.ops.losses import MAX_LOG_RATIO, check_shapes, k3_kl


def importance_ratios(logprobs: Tensor, engine_logprobs: Tensor, unit_of_token: Tensor | None) -> Tensor:
    """The ratios rho of all tokens [N, T], without gradient; log rho is kept within +-`MAX_LOG_RATIO`.

    Args:
        logprobs: [N, T] of the sampled tokens under the learner's weights before the update, in nats.
        engine_logprobs: [N, T], the same as the engine that sampled gave them.
        unit_of_token: [N, T] int64 ids; the tokens of one id share the product of their ratios, those of -1
            keep 1. None: every token is a unit.
    """
    check_shapes(logprobs, engine_logprobs)
    log_ratio = (logprobs - engine_logprobs).detach()
    if unit_of_token is not None:
        check_shapes(log_ratio, unit_of_token)
        chosen = unit_of_token >= 0
        sums = log_ratio.new_zeros(int(unit_of_token.max()) + 1 if chosen.any() else 0)
        sums = sums.index_add(0, unit_of_token[chosen], log_ratio[chosen])
        log_ratio = torch.zeros_like(log_ratio).masked_scatter(chosen, sums[unit_of_token[chosen]])
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def truncated(ratios: Tensor, cap: float) -> Tensor:
    """The smaller of rho and cap, of any shape."""
    if not cap >= 1:
        raise ValueError(f"cap is {cap}; give at least 1, or tokens of equal probabilities lose weight")
    return ratios.clamp(max=cap)


def masked(ratios: Tensor, low: float, high: float) -> Tensor:
    """The ratios rho where low <= rho <= high, else 0; of any shape."""
    if not 0 <= low <= 1 <= high:
        raise ValueError(
            f"low is {low}, high {high}; allowed: 0 <= low <= 1 <= high, or tokens of equal probabilities "
            "are left out"
        )
    return torch.where((ratios >= low) & (ratios <= high), ratios, 0)


def mismatch_figures(logprobs: Tensor, engine_logprobs: Tensor, mask: Tensor) -> dict[str, float]:
    """How far the engine is from the learner at the tokens [N, T] that the mask [N, T] selects.

    Returns:
        kl: the k3 estimate of KL(engine || learner), nats per token. chi2: mean rho^2 - 1, the estimate of
        the chi-square divergence. ess: effective sample size (sum rho)^2 / (n sum rho^2), at most 1, where
        all tokens count the same. largest: largest |log rho|, nats.

    Raises:
        ValueError: the mask selects nothing, or shapes differ.
    """
    check_shapes(logprobs, engine_logprobs, mask)
    if not mask.any():
        raise ValueError("the mask selects no token, so there is nothing to compare; leave such a batch out")
    learner, engine = logprobs[mask].double(), engine_logprobs[mask].double()
    rho = importance_ratios(learner, engine, None)
    return {
        "kl": float(k3_kl(engine, learner).mean()),
        "chi2": float(rho.square().mean() - 1),
        "ess": float(rho.sum().square() / (len(rho) * rho.square().sum())),
        "largest": float((learner - engine).abs().max()),
    }
