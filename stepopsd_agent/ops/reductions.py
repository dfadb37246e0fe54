"""Reductions over groups, steps and masks: pure functions, tensors in, tensors out.

Sums run over deviations from each group's smallest value. So equal values have exactly that value as their
mean and exactly zero as their spread, in any floating type: `(x - mean) / (std + eps)` of equal returns is
zero and not the rounding error of the mean divided by a tiny number. Values that differ by rounding alone are
equal in this sense, too: see `differ`.
"""

from typing import Any, overload

import torch
from torch import Tensor

ROUNDING = 1e-6
"""How far apart one value may be with itself, as a share of 1 and of its size; see `differ`."""


@overload
def differ(low: float, high: float) -> bool: ...
@overload
def differ(low: Tensor, high: Tensor) -> Tensor: ...
def differ(low: Any, high: Any) -> Any:
    """Whether the lowest and the highest of some values, such as the returns of a group, are not one value.

    Rewards that should add up to the same may not: 1 - 0.1 - 0.1 - 0.1 - 0.1 and 0.7 - 0.1 are 1e-16 apart
    in double precision, 6e-8 in the columns of a batch. Divided by its own deviation such a difference would
    be a whole advantage. What counts is above ``ROUNDING`` (1 + |low| + |high|), some 20 units in the last
    place of single precision: more than a hundred rewards and penalties round, and less than anything that
    is paid. Around zero it is 1e-6 all the same, as returns that cancel keep the rounding of what they are
    made from; it is also the `eps` of credit methods, which shrinks smaller deviations to nothing anyway.
    """
    return high - low > (abs(low) + abs(high) + 1) * ROUNDING


def mixed(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Whether the `values` [M] of each group `differ`: [groups] bool, False for an id that does not occur."""
    low, _ = _from_lowest(values, group, groups)
    return differ(low, low.scatter_reduce(0, group, values, "amax"))


def levelled(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """`values` [M], but all of a group's its lowest where they do not `differ`: [M]."""
    low, _ = _from_lowest(values, group, groups)
    return torch.where(mixed(values, group, groups)[group], values, low[group])


def group_count(group: Tensor, groups: int) -> Tensor:
    """How many of the ids `group` [M] there are of each of 0 to `groups` - 1: [groups] int64."""
    _check_ids(group, group.shape, groups)
    return torch.bincount(group, minlength=groups)


def group_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of `values` [M] for each id in `group` [M]: [groups]; zero for an id that does not occur."""
    low, deviation = _from_lowest(values, group, groups)
    total = values.new_zeros(groups).index_add(0, group, deviation)
    return low + total / group_count(group, groups).clamp(min=1)


def group_std(values: Tensor, group: Tensor, groups: int, *, correction: int = 1) -> Tensor:
    """Standard deviation of `values` [M] for each id: [groups]; zero below two values.

    It is the sample deviation (n - 1); with `correction=0` that of the population (n).
    """
    _, deviation = _from_lowest(values, group, groups)
    centred = deviation - group_mean(deviation, group, groups)[group]
    total = values.new_zeros(groups).index_add(0, group, centred.square())
    return (total / (group_count(group, groups) - correction).clamp(min=1)).sqrt()


def standardised(
    values: Tensor, group: Tensor, groups: int, *, std: bool = True, eps: float = 1e-6, correction: int = 1
) -> Tensor:
    """`values` [M] minus their group's mean and, with `std`, over its deviation + `eps`: [M].

    Zero in a group of one, and exactly zero where a group's values are equal. Sums of rewards are `levelled`
    before; other values, such as discounts of far goals, may differ by less than these round.
    """
    centred = values - group_mean(values, group, groups)[group]
    if not std:
        return centred
    deviation = group_std(values, group, groups, correction=correction)[group]
    return torch.where(deviation > 0, centred / (deviation + eps), 0)


def joined_ids(*ids: Tensor) -> Tensor:
    """One id per combination of `ids` [M]: [M] int64, numbered from 0, equal where all of them are equal."""
    numbers: Tensor = torch.unique(torch.stack(ids, dim=1), dim=0, return_inverse=True)[1]
    return numbers


def discounted_to_go(values: Tensor, group: Tensor, groups: int, gamma: float) -> Tensor:
    """y_k = x_k + gamma y_(k+1) within every group, the last y being its x: [M].

    The members of a group must stand together in `group` [M], in their order.
    """
    place = _place(group)
    table = values.new_zeros(groups, int(place.max()) + 1)
    table[group, place] = values
    for k in range(table.shape[1] - 2, -1, -1):
        table[:, k] += gamma * table[:, k + 1]
    return table[group, place]


def discounted_so_far(values: Tensor, group: Tensor, groups: int, gamma: float) -> Tensor:
    """y_k = x_k + gamma y_(k-1) within every group, the first y being its x: [M]; else as above."""
    return discounted_to_go(values.flip(0), group.flip(0), groups, gamma).flip(0)


def following(values: Tensor, group: Tensor, at_end: Tensor) -> Tensor:
    """The next value [M] within every group; behind the last one the group's `at_end` [groups]."""
    same = group[1:] == group[:-1]
    return torch.cat([torch.where(same, values[1:], at_end[group[:-1]]), at_end[group[-1:]]])


def preceding(values: Tensor, group: Tensor, at_start: Tensor) -> Tensor:
    """The value before [M] within every group; before the first one the group's `at_start` [groups]."""
    return following(values.flip(0), group.flip(0), at_start).flip(0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True, a scalar; zero when nothing is selected. Shapes are equal."""
    _check_mask(values, mask)
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Selected values shifted and scaled to mean 0 and sample variance 1; zero elsewhere.

    One selected value, or none, gives zeros, and so do values that do not `differ`.
    """
    _check_mask(values, mask)
    chosen = values[mask]
    if not len(chosen) or not differ(chosen.min(), chosen.max()):
        return torch.zeros_like(values)
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


def _place(group: Tensor) -> Tensor:
    """Place of every member in its group, from 0; raises unless the members of a group stand together."""
    new = torch.cat([torch.ones_like(group[:1], dtype=torch.bool), group[1:] != group[:-1]])
    if int(new.sum()) != len(torch.unique(group)):
        raise ValueError("the members of a group must stand together: sort them by group first")
    count = torch.arange(len(group), device=group.device)
    return count - count[new][new.long().cumsum(0) - 1]


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
