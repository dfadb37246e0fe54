"""Measures of credit against the truth, with intervals from a bootstrap over tasks. Pure functions of arrays.

Every measure is a ratio of sums over groups (tasks), so an interval needs the sums once and then only
resampled weights. Credit is compared *inside* an episode: between episodes, the outcome decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Figure = Callable[[Array], Array]
"""From sums [..., columns] to a figure [...]."""
RESAMPLES = 1000
TIED = 1e-6


@dataclass(frozen=True)
class Measure:
    """A figure with its 95 % interval and the number of episodes that it rests on; of none it is 0."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return "-" if self.n == 0 else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ranked_pairs(credit: Array, positive: NDArray[np.bool_]) -> tuple[float, int]:
    """Pairs of a positive and another step, and how many of them the credit ranks right; ties count half.

    Their quotient is the area under the ROC curve (Mann and Whitney 1947). Credit that differs by less than a
    millionth of the episode's largest is tied: a rounding error is no opinion.
    """
    difference = credit[positive][:, None] - credit[~positive][None, :]
    least = TIED * float(np.abs(credit).max(initial=0.0))
    return float((difference > least).sum() + 0.5 * (np.abs(difference) <= least).sum()), difference.size


def auc(
    credits: Sequence[Array], positives: Sequence[NDArray[np.bool_]], tasks: Sequence[int], seed: int = 0
) -> Measure:
    """Chance that a positive step has more credit than another step of its episode.

    Args:
        credits: per episode the credit of its steps.
        positives: per episode which steps are.
        tasks: per episode its task, the unit of the bootstrap.
        seed: of the bootstrap.
    """
    counted = [ranked_pairs(*pair) for pair in zip(credits, positives, strict=True)]
    used = sum(pairs > 0 for _, pairs in counted)
    sums = np.array([[right, pairs] for right, pairs in counted], dtype=float).reshape(-1, 2)
    return _ratio(sums, tasks, used, seed, lambda s: s[..., 0] / s[..., 1])


def correlation(
    credits: Sequence[Array], truths: Sequence[Array], tasks: Sequence[int], seed: int = 0
) -> Measure:
    """Pearson correlation of credit and truth, both less their episode's mean, over all steps."""
    rows = []
    for credit, truth in zip(credits, truths, strict=True):
        x, y = credit - credit.mean(), truth - truth.mean()
        rows.append([x @ y, x @ x, y @ y])
    sums = np.array(rows, dtype=float).reshape(-1, 3)
    # A constant credit is uncorrelated with everything, not undefined.
    return _ratio(
        sums, tasks, len(rows), seed, lambda s: s[..., 0] / np.sqrt(np.maximum(s[..., 1] * s[..., 2], 1e-300))
    )


def share(chosen: Sequence[int], out_of: Sequence[int], tasks: Sequence[int], seed: int = 0) -> Measure:
    """Share of so many out of so many, per episode."""
    sums = np.array([chosen, out_of], dtype=float).T.reshape(-1, 2)
    used = sum(total > 0 for total in out_of)
    return _ratio(sums, tasks, used, seed, lambda s: s[..., 0] / s[..., 1])


def mean(values: Sequence[float], tasks: Sequence[int], seed: int = 0) -> Measure:
    """Mean of a figure per episode."""
    sums = np.array([values, [1.0] * len(values)], dtype=float).T.reshape(-1, 2)
    return _ratio(sums, tasks, len(values), seed, lambda s: s[..., 0] / s[..., 1])


def _ratio(sums: Array, tasks: Sequence[int], used: int, seed: int, figure: Figure) -> Measure:
    """The figure of the total, and of totals of resampled tasks."""
    if used == 0:
        return Measure(0.0, 0.0, 0.0, 0)
    _, task = np.unique(np.array(tasks), return_inverse=True)
    by_task = np.zeros((task.max() + 1, sums.shape[1]))
    np.add.at(by_task, task, sums)
    rng, count = np.random.default_rng(seed), len(by_task)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, drawn = figure(by_task.sum(0)), figure(weights.astype(float) @ by_task)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Measure(float(value), float(low), float(high), used)
