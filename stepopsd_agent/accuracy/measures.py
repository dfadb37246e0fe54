"""Measures of credit against ground truth, with bootstrap intervals over tasks. Pure functions of arrays.

Every measure is a figure of sums over tasks, so the bootstrap computes the sums once and resamples only their
weights. Two credits of the same episodes are compared in pairs: both figures are of the same drawn tasks.
Credit is compared *inside* an episode: between episodes, the outcome decides.
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


@dataclass(frozen=True, eq=False)
class Sums:
    """A measure of one credit before it is taken: what every episode adds to its sums.

    Attributes:
        rows: [E, columns] what each episode adds.
        tasks: of each episode, the unit of the bootstrap.
        used: number of episodes that the measure is about.
        figure: the measure, of the sums over all episodes.
    """

    rows: Array
    tasks: Sequence[int]
    used: int
    figure: Figure

    def measure(self, seed: int = 0) -> Measure:
        """The measure, `seed` being that of the bootstrap."""
        return self._between(*self._drawn(seed)) if self.used else Measure(0.0, 0.0, 0.0, 0)

    def minus(self, other: "Sums", seed: int = 0) -> Measure:
        """The measure less that of another credit of the same episodes, both on the same drawn tasks.

        Raises:
            ValueError: the other is of other tasks.
        """
        if list(self.tasks) != list(other.tasks):
            raise ValueError("a difference in pairs needs two credits of the same episodes")
        if not self.used:
            return Measure(0.0, 0.0, 0.0, 0)
        (value, drawn), (less, drawn_less) = self._drawn(seed), other._drawn(seed)
        return self._between(value - less, drawn - drawn_less)

    def _drawn(self, seed: int) -> tuple[float, Array]:
        """The figure, and [RESAMPLES] that of drawn tasks."""
        _, task = np.unique(np.array(self.tasks), return_inverse=True)
        by_task = np.zeros((task.max() + 1, self.rows.shape[1]))
        np.add.at(by_task, task, self.rows)
        rng, count = np.random.default_rng(seed), len(by_task)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.figure(by_task.sum(0))), self.figure(weights.astype(float) @ by_task)

    def _between(self, value: float, drawn: Array) -> Measure:
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        return Measure(value, float(low), float(high), self.used)


def ranked_pairs(credit: Array, positive: NDArray[np.bool_]) -> tuple[float, int]:
    """How many pairs of a positive and another step the credit ranks right (ties count half), and all pairs.

    Their quotient is the area under the ROC curve (Mann and Whitney 1947). Differences of at most a millionth
    of the episode's largest credit count as ties: they may be rounding errors.
    """
    difference = credit[positive][:, None] - credit[~positive][None, :]
    least = TIED * float(np.abs(credit).max(initial=0.0))
    return float((difference > least).sum() + 0.5 * (np.abs(difference) <= least).sum()), difference.size


def auc(credits: Sequence[Array], positives: Sequence[NDArray[np.bool_]], tasks: Sequence[int]) -> Sums:
    """Probability that a positive step has more credit than another step of its episode.

    Args:
        credits: per episode, the credit of its steps.
        positives: per episode, which of its steps are positive.
        tasks: per episode, its task, the unit of the bootstrap.
    """
    counted = [ranked_pairs(*pair) for pair in zip(credits, positives, strict=True)]
    return _quotient([right for right, _ in counted], [pairs for _, pairs in counted], tasks)


def correlation(credits: Sequence[Array], truths: Sequence[Array], tasks: Sequence[int]) -> Sums:
    """Pearson correlation of credit and truth over all steps, each centred on its episode's mean."""
    rows = []
    for credit, truth in zip(credits, truths, strict=True):
        x, y = credit - credit.mean(), truth - truth.mean()
        rows.append([x @ y, x @ x, y @ y])
    sums = np.array(rows, dtype=float).reshape(-1, 3)
    # A constant credit is uncorrelated with everything, not undefined.
    return Sums(
        sums, tasks, len(rows), lambda s: s[..., 0] / np.sqrt(np.maximum(s[..., 1] * s[..., 2], 1e-300))
    )


def share(chosen: Sequence[int], out_of: Sequence[int], tasks: Sequence[int]) -> Sums:
    """The sum of `chosen` over the sum of `out_of`, both counts per episode."""
    return _quotient(chosen, out_of, tasks)


def mean(values: Sequence[float], tasks: Sequence[int]) -> Sums:
    """Mean over episodes of a value per episode."""
    return _quotient(values, [1] * len(values), tasks)


def _quotient(parts: Sequence[float], wholes: Sequence[int], tasks: Sequence[int]) -> Sums:
    """The sum of `parts` over that of `wholes`, about the episodes that have any."""
    rows = np.array([parts, wholes], dtype=float).T.reshape(-1, 2)
    return Sums(rows, tasks, sum(whole > 0 for whole in wholes), lambda s: s[..., 0] / s[..., 1])
