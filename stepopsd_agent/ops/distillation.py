"""Per-token losses that draw the policy towards a teacher: on sampled tokens, or on whole distributions.

They return one number per token, as those of `losses` do. Log-probabilities are in nats; the teacher's are
constants.
"""

import math

import torch
from torch import Tensor

from stepopsd_agent.ops.losses import MAX_LOG_RATIO, check_shapes

MAX_IMPORTANCE = 10.0
"""Largest logarithm of an importance ratio."""


def gated_distillation(logprobs: Tensor, teacher_logprobs: Tensor, *, gate_beta: float) -> Tensor:
    """The teacher's gap on sampled tokens behind a gate (SDAR, arXiv 2605.15155), [N, T].

    g (log p_teacher - log p), with g = sigmoid(gate_beta (log p_teacher - log p)) held constant. With
    gate_beta = 0 the gate is 1/2 everywhere, the baseline known as GRPO+OPSD.
    """
    check_shapes(logprobs, teacher_logprobs)
    teacher = teacher_logprobs.detach()
    gate = torch.sigmoid(gate_beta * (teacher - logprobs.detach()))
    return gate * (teacher - logprobs)


def importance_k3(logprobs: Tensor, teacher_logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """Skill-SD's importance-weighted divergence to the teacher (arXiv 2604.10674), [N, T].

    With l = log p - log p_teacher and r = p / p_old: r (exp(-l) - 1 + l), -l at most `MAX_LOG_RATIO` and
    log r at most 10. The gradient flows through both factors; zero, as its gradient, where p = p_teacher.
    """
    check_shapes(logprobs, teacher_logprobs, old_logprobs)
    log_inverse = (teacher_logprobs.detach() - logprobs).clamp(max=MAX_LOG_RATIO)
    ratio = (logprobs - old_logprobs.detach()).clamp(max=MAX_IMPORTANCE).exp()
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
    check_shapes(logprobs, student[:, 0], teacher_ids[:, 0])
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
    check_shapes(logprobs, old_logprobs)
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
