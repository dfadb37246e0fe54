"""Gaps between teacher and student: by hand on small batches, and whatever the layout."""

from dataclasses import replace

import pytest

from stepopsd_agent.hindsight import gap_metrics
from tests.helpers.builders import Attempt, build, padded, permuted, random_batch, turn


def test_gaps_are_means_by_kind_of_token() -> None:
    """Thoughts before the action, actions by the kind of their step; signs do not cancel."""
    batch = build(
        [
            Attempt(0, 1.0, (turn(3, [1.0, -3.0, 0.5], action=(2, 3)),)),
            Attempt(
                0, 0.0, (turn(2, [0.0, -0.25], action=(1, 2), kind="search"), turn(1, 4.0, action=(0, 1)))
            ),
        ]
    )
    assert gap_metrics(batch) == pytest.approx(
        {"signal/gap_act": (0.5 + 4) / 2, "signal/gap_search": 0.25, "signal/gap_thought": 4 / 3}
    )


def test_gaps_need_a_teacher() -> None:
    """Without one there are none."""
    batch = random_batch(0)
    without = replace(batch, tokens=replace(batch.tokens, teacher_logprobs=None))
    assert gap_metrics(without) == {}


@pytest.mark.parametrize("seed", range(5))
def test_gaps_do_not_depend_on_layout_padding_or_order(seed: int) -> None:
    """Rows of steps or episodes, wider rows, other order of rows."""
    batch = random_batch(seed)
    expected = gap_metrics(batch)
    order = list(range(batch.num_rows))[::-1]
    for other in (random_batch(seed, "window"), padded(batch, 2, 3), permuted(batch, order)):
        assert gap_metrics(other) == pytest.approx(expected)
