"""Confidence intervals of proportions and means."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def wilson(successes: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion; 95 % at the default `z`.

    Unlike the normal interval it stays within [0, 1] and has a width at 0 and at n successes. For n = 0 it is
    (0, 1): nothing is known. Counts may be fractions: effective numbers of attempts.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"got {successes} successes of {n}; need 0 <= successes <= n")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    scale = 1 / (1 + z * z / n)
    centre = scale * (p + z * z / (2 * n))
    half = scale * z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the exact bound is 0 or 1, and rounding must not move it.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def proportion(successes: int, n: int) -> dict[str, Any]:
    """Return the `{success, n, ci95}` entry that summaries and evaluation rows hold."""
    return {"success": successes / n if n else 0.0, "n": n, "ci95": list(wilson(successes, n))}


def clustered_proportion(outcomes: Mapping[Any, Sequence[bool]]) -> dict[str, Any]:
    """`proportion` of attempts that may repeat a task, as `{success, n, tasks, ci95}`.

    Attempts at one task are alike, so n of them tell less than n tasks do. The interval is Wilson's at the
    effective number of attempts, which is n over the design effect: the variance of the rate between tasks,
    by the linearised ratio estimator (Cochran, Sampling Techniques, 1977, section 3.12), over that of
    independent attempts. A design effect below 1 counts as 1, and the normal quantile gives way to Student's
    with tasks - 1 degrees of freedom (Korn and Graubard, Survey Methodology 24, 1998, who do so for the
    interval of Clopper and Pearson; Dean and Pagano, J. of Survey Statistics and Methodology 3, 2015, for
    Wilson's). Where every attempt is won, or none, the attempts do not tell how alike they are: there, and
    where there is one task, the number of tasks is the number that counts.

    Args:
        outcomes: of the attempts at each task, one or more. Where each was played once the answer is that of
            `proportion`, to the bit, without ``tasks``.
    """
    won, sizes = [sum(wins) for wins in outcomes.values()], [len(wins) for wins in outcomes.values()]
    total, n, tasks = sum(won), sum(sizes), len(sizes)
    if tasks == n:
        return proportion(total, n)
    p, effective, z = total / n, float(tasks), 1.96
    if tasks > 1 and 0 < total < n:
        z, alone = student_t(tasks - 1), p * (1 - p) / n
        squares = math.fsum((wins - p * size) ** 2 for wins, size in zip(won, sizes, strict=True))
        clustered = squares * tasks / (tasks - 1) / n**2
        effective = n / max(1.0, clustered / alone)
    return {"success": p, "n": n, "tasks": tasks, "ci95": list(wilson(p * effective, effective, z))}


_T = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
)  # fmt: skip
"""97.5 % quantiles of Student's t for 1 to 20 degrees of freedom."""


def student_t(freedom: int) -> float:
    """97.5 % quantile of Student's t; beyond the table by Cornish and Fisher's expansion, right to 1e-4."""
    if freedom < 1:
        raise ValueError(f"got {freedom} degrees of freedom; need 1 or more")
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, square = 1.959964, 1.959964**2
    first, second = square + 1, 5 * square**2 + 16 * square + 3
    third = 3 * square**3 + 19 * square**2 + 17 * square - 15
    return z * (1 + first / (4 * freedom) + second / (96 * freedom**2) + third / (384 * freedom**3))


def mean_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean of independent values with Student's 95 % interval, as `{mean, n, ci95}`.

    A single value tells nothing about others: its interval is None. So are mean and interval of none.
    """
    n = len(values)
    mean = math.fsum(values) / n if n else None
    if mean is None or n < 2:
        return {"mean": mean, "n": n, "ci95": None}
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = student_t(n - 1) * deviation / math.sqrt(n)
    return {"mean": mean, "n": n, "ci95": [mean - half, mean + half]}
