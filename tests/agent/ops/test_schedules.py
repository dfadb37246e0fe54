"""Factors over updates."""

import pytest

from stepopsd_agent.ops import schedules


def test_linear_falls_to_zero_and_stays() -> None:
    """The paper's decay over 50 updates."""
    # 1 - 0/50, 1 - 1/50, 1 - 25/50, 1 - 49/50, then 0
    values = [schedules.linear(update, 50) for update in (0, 1, 25, 49, 50, 51, 1000)]
    assert values == pytest.approx([1.0, 0.98, 0.5, 0.02, 0.0, 0.0, 0.0])
    assert values[4] == 0.0  # exactly: a method may then skip its teacher


def test_constant_stays() -> None:
    """No decay at all."""
    assert [schedules.constant(update) for update in (0, 7, 10**6)] == [1.0, 1.0, 1.0]


def test_learning_rate_rises_and_falls() -> None:
    """Without warm-up and decay it stays; each adds its line."""
    assert [schedules.learning_rate(k, 4, "constant", 0) for k in range(4)] == [1.0] * 4
    assert [schedules.learning_rate(k, 4, "linear", 0) for k in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [schedules.learning_rate(k, 4, "constant", 1) for k in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert schedules.learning_rate(0, 4, "linear", 3) == 0.25


def test_schedules_refuse_what_makes_no_sense() -> None:
    """A decay over no updates, and updates before the first."""
    with pytest.raises(ValueError, match="decay_updates is 0"):
        schedules.linear(3, 0)
    with pytest.raises(ValueError, match="update is -1"):
        schedules.linear(-1, 50)
    with pytest.raises(ValueError, match="update is -1"):
        schedules.constant(-1)
