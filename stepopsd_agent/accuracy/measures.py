"""Measures of credit against ground truth, with bootstrap intervals over tasks. Pure functions of arrays.

Every measure is a function of sums over tasks, so the bootstrap computes the sums once and resamples only
their weights. Credit is compared *inside* an episode: between episodes, the outcome decides.
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
    """A value with its 95 % interval and the number n of episodes behind it; all are 0 if n is 0."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return "-" if self.n == 0 else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ranked_pairs(credit: Array, positive: NDArray[np.bool_]) -> tuple[float, int]:
    """How many pairs of a positive and another step the credit ranks right (ties count half), and all pairs.

    Their quotient is the area under the ROC curve (Mann and Whitney 1947). Differences of at most a millionth
    of the episode's largest credit count as ties: they may be rounding errors.
    """
    difference = credit[positive][:, None] - credit[~positive][None, :]
    least = TIED * float(np.abs(credit).max(initial=0.0))
    return float((difference > least).sum() + 0.5 * (np.abs(difference) <= least).sum()), difference.size


def auc(
    credits: Sequence[Array], positives: Sequence[NDArray[np.bool_]], tasks: Sequence[int], seed: int = 0
) -> Measure:
    """Probability that a positive step has more credit than another step of its episode.

    Args:
        credits: per episode, the credit of its steps.
        positives: per episode, which of its steps are positive.
        tasks: per episode, its task, the unit of the bootstrap.
        seed: of the bootstrap.
    """
    counted = [ranked_pairs(*pair) for pair in zip(credits, positives, strict=True)]
    used = sum(pairs > 0 for _, pairs in counted)
    sums = np.array([[right, pairs] for right, pairs in counted], dtype=float).reshape(-1, 2)
    return _ratio(sums, tasks, used, seed, lambda s: s[..., 0] / s[..., 1])


def correlation(
    credits: Sequence[Array], truths: Sequence[Array], tasks: Sequence[int], seed: int = 0
) -> Measure:
    """Pearson correlation of credit and truth over all steps, each centred on its episode's mean."""
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
    """The sum of `chosen` over the sum of `out_of`, both counts per episode."""
    sums = np.array([chosen, out_of], dtype=float).T.reshape(-1, 2)
    used = sum(total > 0 for total in out_of)
    return _ratio(sums, tasks, used, seed, lambda s: s[..., 0] / s[..., 1])


def mean(values: Sequence[float], tasks: Sequence[int], seed: int = 0) -> Measure:
    """Mean over episodes of a value per episode."""
    sums = np.array([values, [1.0] * len(values)], dtype=float).T.reshape(-1, 2)
    return _ratio(sums, tasks, len(values), seed, lambda s: s[..., 0] / s[..., 1])


def _ratio(sums: Array, tasks: Sequence[int], used: int, seed: int, figure: Figure) -> Measure:
    """The figure of the sums over all tasks, with percentiles of that of resampled tasks."""
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
