"""Ranks of the commands of one state: worked by hand, and against another implementation."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from stepopsd_agent.accuracy import average_ranks, optimal_q, spearman

values = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


def test_q_is_the_discounted_reward_of_optimal_play() -> None:
    """The goal reached, one command away, three away, and out of reach."""
    assert optimal_q([0, 1, 3, -2]).tolist() == pytest.approx([1.0, 0.95, 0.857375, 0.0])
    assert optimal_q([2], gamma=0.5).tolist() == [0.25]


def test_a_distance_that_was_not_computed_is_refused() -> None:
    """-1 says that the environment was made without the oracle."""
    with pytest.raises(ValueError, match="oracle=True"):
        optimal_q([2, -1])


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    """5, 5, 2, 9: ranks 2 and 3 go to the fives."""
    assert average_ranks(np.array([5.0, 5.0, 2.0, 9.0])).tolist() == [2.5, 2.5, 1.0, 4.0]


def test_spearman_is_worked_by_hand_with_ties() -> None:
    """Four commands: nearer, away, and two that change nothing, which a signal sets apart.

    Q of distances 2, 4, 3, 3 ranks 4, 1, 2.5, 2.5; less 2.5 that is 1.5, -1.5, 0, 0, with squares 4.5.
    The signal 7, 1, 1, 3 ranks 4, 1.5, 1.5, 3: 1.5, -1, -1, .5, with squares 4.5.
    Products 2.25 + 1.5 = 3.75; 3.75 / 4.5 = 5/6.
    """
    q = optimal_q([2, 4, 3, 3])
    assert spearman(np.array([7.0, 1.0, 1.0, 3.0]), q) == pytest.approx(5 / 6)
    assert spearman(q, q) == pytest.approx(1.0) and spearman(-q, q) == pytest.approx(-1.0)


def test_a_constant_signal_is_zero_and_a_constant_truth_is_no_question() -> None:
    """Also of one command alone."""
    q = optimal_q([1, 2])
    assert spearman(np.zeros(2), q) == 0.0
    assert spearman(np.array([1.0, 2.0]), np.ones(2)) is None
    assert spearman(np.array([1.0]), np.array([0.5])) is None


@given(values)
def test_ranks_agree_with_counting(drawn: list[int]) -> None:
    """The rank of a value is one more than the smaller ones, and half of the others equal to it."""
    array = np.array(drawn, dtype=float)
    counted = [1 + sum(o < v for o in drawn) + (sum(o == v for o in drawn) - 1) / 2 for v in drawn]
    assert average_ranks(array).tolist() == counted
    assert average_ranks(array).sum() == len(drawn) * (len(drawn) + 1) / 2
