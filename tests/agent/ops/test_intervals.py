"""Intervals of means."""

import numpy as np
import pytest

from stepopsd_agent.ops import clustered_proportion, mean_interval, proportion, wilson
from stepopsd_agent.ops.intervals import student_t


def test_mean_interval_is_student_s() -> None:
    """Of 1, 2, 6: deviation sqrt((4 + 1 + 9) / 2) = 2.64575, standard error 1.52753, t(2) = 4.30265."""
    found = mean_interval([1.0, 2.0, 6.0])
    assert found["mean"] == 3.0 and found["n"] == 3
    assert found["ci95"] == pytest.approx([3 - 4.302653 * 1.527525, 3 + 4.302653 * 1.527525], abs=1e-5)
    assert mean_interval([0.3] * 4)["ci95"] == pytest.approx([0.3, 0.3])


def test_mean_interval_of_one_value_is_not_known() -> None:
    """One run tells nothing about the next."""
    assert mean_interval([0.5]) == {"mean": 0.5, "n": 1, "ci95": None}
    assert mean_interval([]) == {"mean": None, "n": 0, "ci95": None}


def test_student_t_is_the_quantile() -> None:
    """In the table and beyond it, falling towards that of the normal distribution."""
    stats = pytest.importorskip("scipy.stats")
    for freedom in [*range(1, 60), 100, 1000]:
        assert student_t(freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), abs=1e-4)
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_t(0)


def test_clustered_proportion_by_hand() -> None:
    """Four tasks of 25, two always won: deviations of 12.5 a task.

    Variance between: 4/3 * 4 * 12.5^2 / 100^2 = 1/12; alone 0.25 / 100; design effect 33.3; 3 count. Wilson's
    half width at p = 0.5 is z / (2 sqrt(n + z^2)), with t = 3.182446 of 3 degrees of freedom 0.4392.
    """
    found = clustered_proportion({str(k): [k < 2] * 25 for k in range(4)})
    assert found["ci95"] == pytest.approx([0.5 - 0.43917, 0.5 + 0.43917], abs=1e-4)


def test_clustered_proportion_of_tasks_played_once_is_the_proportion() -> None:
    """To the bit, and without a count of tasks."""
    assert clustered_proportion({str(k): [k < 3] for k in range(7)}) == proportion(3, 7)
    assert clustered_proportion({}) == proportion(0, 0)


@pytest.mark.parametrize("won", [False, True])
def test_clustered_proportion_at_the_ends_counts_tasks(won: bool) -> None:
    """How alike the attempts are cannot be seen there."""
    assert clustered_proportion({str(k): [won] * 25 for k in range(4)})["ci95"] == list(wilson(4 * won, 4))
    assert clustered_proportion({"one": [won, not won]})["ci95"] == list(wilson(0.5, 1))


def test_clustered_interval_covers_what_wilson_s_misses() -> None:
    """2,000 evaluations of 8 tasks, each 20 times; a task's chance is 0.1 or 0.9, the mean 0.5.

    At 95 % the share of intervals with 0.5 in them should be near 0.95; that of independent attempts is not.
    """
    rng, covered, naive = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        chances = rng.choice([0.1, 0.9], size=8)
        played = {str(k): (rng.random(20) < chance).tolist() for k, chance in enumerate(chances)}
        low, high = clustered_proportion(played)["ci95"]
        covered += low <= 0.5 <= high
        low, high = wilson(sum(map(sum, played.values())), 160)
        naive += low <= 0.5 <= high
    assert covered > 1860 and naive < 1000
