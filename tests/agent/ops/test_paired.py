"""Paired comparison: worked values, and what the intervals promise."""

import math
from itertools import product

import numpy as np
import pytest

from stepopsd_agent.ops import bootstrap_difference, holm, newcombe, sign_test, wilson


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),  # the two tails meet
        (5, 0, 2 / 32),  # 2 * 1 / 2^5
        (1, 7, 2 * (1 + 8) / 256),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_sign_test_counts_coin_flips(better: int, worse: int, expected: float) -> None:
    """By hand; the direction does not matter."""
    assert sign_test(better, worse) == sign_test(worse, better) == pytest.approx(expected)


def test_newcombe_combines_the_wilson_intervals() -> None:
    """Without correlation it is the square root of squares; with it, worked by hand."""
    low, high = newcombe(0, 0, 10, 0)  # 0 of 10 and 10 of 10: no correlation is defined
    l2, u1 = wilson(10, 10)[0], wilson(0, 10)[1]
    assert (low, high) == pytest.approx((1 - math.hypot(1 - l2, u1), 1.0))
    # 20 both, 2 first only, 8 second only, 10 neither: 22/40 and 28/40.
    # phi = (20 * 10 - 2 * 8 - 40 / 2) / sqrt(22 * 18 * 28 * 12) = 164 / 364.75...
    phi = 164 / math.sqrt(22 * 18 * 28 * 12)
    (low1, high1), (low2, high2) = wilson(22, 40), wilson(28, 40)
    below, above = 0.7 - low2, high1 - 0.55
    assert newcombe(20, 2, 8, 10)[0] == pytest.approx(
        0.15 - math.sqrt(below**2 - 2 * phi * below * above + above**2)
    )
    below, above = high2 - 0.7, 0.55 - low1
    assert newcombe(20, 2, 8, 10)[1] == pytest.approx(
        0.15 + math.sqrt(below**2 - 2 * phi * below * above + above**2)
    )


def test_newcombe_is_antisymmetric_and_has_a_width_without_differences() -> None:
    """Swapping the two turns the interval around; equal outcomes are no proof of equality."""
    for counts in product(range(4), repeat=4):
        low, high = newcombe(*counts)
        both, first, second, neither = counts
        assert newcombe(both, second, first, neither) == pytest.approx((-high, -low))
        assert -1 <= low <= (second - first) / max(1, sum(counts)) <= high <= 1
    assert newcombe(10, 0, 0, 10)[1] > 0.05


@pytest.mark.parametrize("chances", [(0.4, 0.1, 0.1, 0.4), (0.1, 0.05, 0.35, 0.5), (0.6, 0.02, 0.2, 0.18)])
def test_newcombe_covers_the_truth_as_often_as_it_says(chances: tuple[float, ...]) -> None:
    """Over all tables of 24 pairs, each with its probability; 95 % on average, never far below."""
    n, covered = 24, 0.0
    for both, first, second in product(range(n + 1), repeat=3):
        neither = n - both - first - second
        if neither < 0:
            continue
        counts = (both, first, second, neither)
        low, high = newcombe(*counts)
        if low <= chances[2] - chances[1] <= high:
            ways = math.factorial(n) / math.prod(math.factorial(k) for k in counts)
            covered += ways * math.prod(p**k for p, k in zip(chances, counts, strict=True))
    assert 0.93 < covered < 0.995


def test_bootstrap_difference_resamples_tasks_not_attempts() -> None:
    """Attempts that only repeat their task's outcome make the interval no narrower; it repeats itself."""
    first, second = [[0.0], [1.0], [0.0], [1.0]] * 5, [[1.0], [1.0], [0.0], [0.0]] * 5
    once = bootstrap_difference(first, second, np.random.default_rng(0))
    repeated = bootstrap_difference(
        [one * 9 for one in first], [one * 9 for one in second], np.random.default_rng(0)
    )
    assert once == pytest.approx(repeated)
    assert once[0] < -0.15 and once[1] > 0.15
    assert bootstrap_difference([[0, 0], [0]], [[1, 1], [1]], np.random.default_rng(0)) == (1.0, 1.0)
    with pytest.raises(ValueError, match="as many attempts"):
        bootstrap_difference([[0.0]], [[0.0, 1.0]], np.random.default_rng(0))


def test_holm_multiplies_the_smallest_most() -> None:
    """0.01 * 3, 0.02 * 2, then 0.03 * 1 raised to what stands before it; never above 1."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []
