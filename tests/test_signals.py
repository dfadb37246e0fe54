"""Measures of one update: by hand on small batches, and on played episodes."""

import math
from dataclasses import replace

import pytest
import torch

from stepopsd_agent.signals import batch_signals, credit_entropy, repetition, teacher_gaps
from stepopsd_wrappers import Episode
from tests.builders import Attempt, build, by_step, padded, permuted, random_batch, turn
from tests.runs import taught
from tests.test_rollout import play


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
    assert teacher_gaps(batch) == pytest.approx({"act": (0.5 + 4) / 2, "search": 0.25, "thought": 4 / 3})


def test_gaps_need_a_teacher() -> None:
    """Without one there are none, and the entropy of credit is there all the same."""
    batch = random_batch(0)
    without = replace(batch, tokens=replace(batch.tokens, teacher_logprobs=None))
    assert batch_signals(without, torch.zeros(batch.action_mask.shape)).keys() == {"signal/credit_entropy"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1.0, 1.0, 1.0), 1.0),
        ((1.0, 0.0, 0.0), 0.0),
        ((1.0, 0.0, -1.0), math.log(2) / math.log(3)),
        ((0.0, 0.0, 0.0), 1.0),
    ],
)
def test_credit_entropy_by_hand(weights: tuple[float, ...], expected: float) -> None:
    """Signs do not matter, nor an episode without credit, nor one of a single step."""
    first = Attempt(0, 1.0, tuple(turn(1) for _ in weights))
    batch = build([first, Attempt(0, 0.0, (turn(2),))])
    advantages = torch.zeros(batch.action_mask.shape)
    for step, weight in enumerate(weights):
        advantages[batch.tokens.step_of_token == step] = weight
    advantages[batch.tokens.step_of_token == 3] = 7.0
    assert credit_entropy(batch, advantages) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_signals_do_not_depend_on_layout_padding_or_order(seed: int) -> None:
    """Rows of steps or episodes, wider rows, other order of rows."""
    batch, window = random_batch(seed), random_batch(seed, "window")
    value = torch.linspace(-1, 1, batch.num_steps)

    def advantages(one: object) -> torch.Tensor:
        steps = one.tokens.step_of_token  # type: ignore[attr-defined]
        return torch.where(steps >= 0, value[steps.clamp(min=0)], 0)

    expected = batch_signals(batch, advantages(batch))
    order = list(range(batch.num_rows))[::-1]
    for other in (window, padded(batch, 2, 3), permuted(batch, order)):
        assert batch_signals(other, advantages(other)) == pytest.approx(expected)
    assert by_step(batch, advantages(batch))


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
