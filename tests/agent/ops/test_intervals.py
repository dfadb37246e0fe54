"""Intervals of means."""

import pytest

from stepopsd_agent.ops import mean_interval
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
