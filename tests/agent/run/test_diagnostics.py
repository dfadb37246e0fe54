"""Measures of one update: by hand on small batches, and on played episodes."""

from dataclasses import replace

import pytest

from stepopsd_agent.run.diagnostics import repetition, teacher_gaps
from stepopsd_wrappers import Episode
from tests.agent.rollout.test_rollout import play
from tests.helpers.builders import Attempt, build, padded, permuted, random_batch, turn
from tests.helpers.runs import taught


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
    assert teacher_gaps(batch) == pytest.approx(
        {"signal/gap_act": (0.5 + 4) / 2, "signal/gap_search": 0.25, "signal/gap_thought": 4 / 3}
    )


def test_gaps_need_a_teacher() -> None:
    """Without one there are none."""
    batch = random_batch(0)
    without = replace(batch, tokens=replace(batch.tokens, teacher_logprobs=None))
    assert teacher_gaps(without) == {}


@pytest.mark.parametrize("seed", range(5))
def test_gaps_do_not_depend_on_layout_padding_or_order(seed: int) -> None:
    """Rows of steps or episodes, wider rows, other order of rows."""
    batch = random_batch(seed)
    expected = teacher_gaps(batch)
    order = list(range(batch.num_rows))[::-1]
    for other in (random_batch(seed, "window"), padded(batch, 2, 3), permuted(batch, order)):
        assert teacher_gaps(other) == pytest.approx(expected)


def test_repetition_counts_steps_and_runs_of_tokens() -> None:
    """An episode that goes back and forth; a response that stutters."""
    episode: Episode = play(taught(), slots=1)[0]
    first, second = episode.steps[0], episode.steps[1]
    assert second.tokens is not None
    stutter = replace(
        second, tokens=replace(second.tokens, sampled_ids=(1, 2, 3, 4) * 3, logprobs=(0.0,) * 12)
    )
    again = replace(second, observation=first.observation)
    looped = replace(episode, steps=(first, replace(stutter, observation=first.observation), again, again))
    shares = repetition([looped])
    assert shares["signal/repeated_steps"] == pytest.approx(2 / 3)
    grams = 9 + 2 * max(0, len(second.tokens.sampled_ids) - 3)
    assert shares["signal/repeated_ngrams"] == pytest.approx(5 / grams)
    assert repetition([]) == {"signal/repeated_steps": 0.0, "signal/repeated_ngrams": 0.0}
