"""Paired comparison of two agents on the same tasks: an exact test, and intervals of the difference."""

import math
from collections.abc import Sequence

import numpy as np

from stepopsd_agent.ops.intervals import wilson


def sign_test(better: int, worse: int) -> float:
    """Two-sided p-value of the exact sign test; of single wins and losses it is McNemar's exact test.

    Of the pairs that differ each is better or worse with probability 1/2 if there is no difference. Pairs
    that are equal tell nothing and are left out; without any other the value is 1.
    """
    if better < 0 or worse < 0:
        raise ValueError(f"got {better} better and {worse} worse; need counts, 0 or more")
    n, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def newcombe(
    both: float, first: float, second: float, neither: float, z: float = 1.96
) -> tuple[float, float]:
    """Newcombe's interval of a paired difference of proportions, second less first; 95 % at the default `z`.

    Method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17 (1998): the Wilson intervals of the two, combined by the
    correlation of the pairs. Unlike a bootstrap it has a width where no pair differs. Counts may be
    fractions, as of `wilson`.

    Args:
        both: pairs in which both succeeded.
        first: pairs in which only the first did.
        second: pairs in which only the second did.
        neither: pairs in which neither did.
        z: standard deviations.
    """
    n = both + first + second + neither
    if min(both, first, second, neither) < 0:
        raise ValueError(f"got counts {both}, {first}, {second}, {neither}; need 0 or more")
    if n == 0:
        return -1.0, 1.0
    rate, two = (both + first) / n, (both + second) / n
    (low1, high1), (low2, high2) = wilson(both + first, n, z), wilson(both + second, n, z)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    cross = both * neither - first * second
    # Newcombe's continuity correction, for correlations above 0 alone.
    corrected = cross if cross < 0 else max(0.0, cross - n / 2)
    phi = corrected / math.sqrt(margins) if margins else 0.0

    def distance(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up * up - 2 * phi * up * down + down * down))

    difference = two - rate
    return difference - distance(two - low2, high1 - rate), difference + distance(high2 - two, rate - low1)


def bootstrap_difference(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    rng: np.random.Generator,
    resamples: int = 2000,
) -> tuple[float, float]:
    """95 % interval of a paired difference of means, second less first, by a bootstrap over tasks.

    Args:
        first: outcomes of the attempts at each task.
        second: those of the other at the same tasks, as many.
        rng: draws the tasks.
        resamples: number of draws.
    """
    counts = np.array([len(values) for values in first])
    if len(first) == 0 or counts.tolist() != [len(values) for values in second]:
        raise ValueError("need one task or more, with as many attempts of the first as of the second")
    totals = np.array([sum(b) - sum(a) for a, b in zip(first, second, strict=True)], dtype=float)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    low, high = np.quantile(weights @ totals / (weights @ counts), [0.025, 0.975])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several comparisons after Holm's correction, which bounds the chance of any false one."""
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted
