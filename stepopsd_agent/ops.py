"""Reductions over groups, steps and masks: pure functions, tensors in, tensors out.

Sums run over deviations from each group's smallest value. So equal values have exactly that value as their
mean and exactly zero as their spread, in any floating type: `(x - mean) / (std + eps)` of equal returns is
zero and not the rounding error of the mean divided by a tiny number.
"""

import torch
from torch import Tensor


def group_count(group: Tensor, groups: int) -> Tensor:
    """How many of the ids `group` [M] there are of each of 0 to `groups` - 1: [groups] int64."""
    _check_ids(group, group.shape, groups)
    return torch.bincount(group, minlength=groups)


def group_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of `values` [M] for each id in `group` [M]: [groups]; zero for an id that does not occur."""
    low, deviation = _from_lowest(values, group, groups)
    total = values.new_zeros(groups).index_add(0, group, deviation)
    return low + total / group_count(group, groups).clamp(min=1)


def group_std(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sample standard deviation (n - 1) of `values` [M] for each id: [groups]; zero below two values."""
    _, deviation = _from_lowest(values, group, groups)
    centred = deviation - group_mean(deviation, group, groups)[group]
    total = values.new_zeros(groups).index_add(0, group, centred.square())
    return (total / (group_count(group, groups) - 1).clamp(min=1)).sqrt()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True, a scalar; zero when nothing is selected. Shapes are equal."""
    _check_mask(values, mask)
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Selected values shifted and scaled to mean 0 and sample variance 1; zero elsewhere.

    One selected value, or none, gives zeros.
    """
    centred = torch.where(mask, values - masked_mean(values, mask), 0)
    variance = centred.square().sum() / (mask.sum() - 1).clamp(min=1)
    return centred * (variance + eps).rsqrt()


def step_mean(values: Tensor, step_of_token: Tensor, steps: int) -> Tensor:
    """Mean of `values` [N, T] over the tokens of every step: [steps]; tokens of step -1 do not count."""
    chosen = step_of_token >= 0
    _check_mask(values, chosen)
    return group_mean(values[chosen], step_of_token[chosen], steps)


def step_count(step_of_token: Tensor, steps: int) -> Tensor:
    """Number of tokens of every step: [steps] int64; tokens of step -1 do not count."""
    return group_count(step_of_token[step_of_token >= 0], steps)


def spread_steps(per_step: Tensor, step_of_token: Tensor) -> Tensor:
    """Give every token its step's value: `per_step` [S] to [N, T], zero where `step_of_token` is -1."""
    _check_ids(step_of_token.clamp(min=0), step_of_token.shape, len(per_step))
    return torch.where(step_of_token >= 0, per_step[step_of_token.clamp(min=0)], 0)


def _from_lowest(values: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """The lowest value of each group, zero for an empty one, and how far every value is above its group's."""
    if values.dim() != 1:
        raise ValueError(f"values must be one-dimensional, got shape {tuple(values.shape)}")
    _check_ids(group, values.shape, groups)
    low = values.new_zeros(groups).scatter_reduce(0, group, values, "amin", include_self=False)
    return low, values - low[group]


def _check_ids(ids: Tensor, shape: torch.Size, size: int) -> None:
    if ids.dtype != torch.int64 or ids.shape != shape:
        raise ValueError(f"ids must be int64 of shape {tuple(shape)}, got {ids.dtype} of {tuple(ids.shape)}")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(f"ids must lie in 0..{size - 1}, got {int(ids.min())}..{int(ids.max())}")


def _check_mask(values: Tensor, mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise TypeError(
            f"a mask must be torch.bool, got {mask.dtype}: was another tensor passed in its place?"
        )
    if mask.shape != values.shape:
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, the values {tuple(values.shape)}; they must agree"
        )
