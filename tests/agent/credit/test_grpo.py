"""GRPO's advantage by hand."""

import math

import pytest
import torch

from stepopsd_agent import credit
from tests.helpers.builders import Attempt, build, by_step, turn

# Returns 1, 1, 0 in group 0 with 2, 1 and 3 steps; 4 and 2 in group 1 with a step each.
ATTEMPTS = [
    Attempt(0, 1.0, (turn(2), turn(1))),
    Attempt(0, 1.0, (turn(1),)),
    Attempt(0, 0.0, (turn(1), turn(1), turn(1))),
    Attempt(1, 4.0, (turn(1),)),
    Attempt(1, 2.0, (turn(1),)),
]


def first_tokens(**fields: object) -> list[float]:
    """The advantage of every step's first token."""
    batch = build(ATTEMPTS)
    return [tokens[0] for tokens in by_step(batch, credit.make("grpo", **fields)(batch).advantages)]


def test_grpo_over_episodes_matches_hand_worked_values() -> None:
    """Group 0: mean 2/3, variance (1/9 + 1/9 + 4/9) / 2 = 1/3. Group 1: mean 3, variance 2."""
    high, low = (1 / 3) / math.sqrt(1 / 3), (-2 / 3) / math.sqrt(1 / 3)
    expected = [high] * 3 + [low] * 3 + [1 / math.sqrt(2), -1 / math.sqrt(2)]
    assert first_tokens() == pytest.approx(expected, rel=1e-5)


def test_grpo_over_steps_counts_long_episodes_more() -> None:
    """Group 0 by step: 1 1 1 0 0 0, mean 1/2, variance 6 * 1/4 / 5 = 0.3."""
    expected = (
        [0.5 / math.sqrt(0.3)] * 3 + [-0.5 / math.sqrt(0.3)] * 3 + [1 / math.sqrt(2), -1 / math.sqrt(2)]
    )
    assert first_tokens(baseline="step") == pytest.approx(expected, rel=1e-5)


def test_grpo_without_deviation_is_dr_grpo() -> None:
    """The distance from the mean itself."""
    assert first_tokens(std=False) == pytest.approx([1 / 3] * 3 + [-2 / 3] * 3 + [1, -1])


def test_grpo_gives_every_token_of_an_episode_the_same() -> None:
    """And reports the mean and the groups without credit."""
    batch = build([*ATTEMPTS, Attempt(2, 1.0, (turn(2),)), Attempt(2, 1.0, (turn(2),))])
    result = credit.make("grpo", std=False)(batch)
    assert [len(set(step)) for step in by_step(batch, result.advantages)] == [1] * batch.num_steps
    # tokens: 3 + 1 of 1/3, 3 of 2/3, 2 of 1, 4 of 0: (4/3 + 2 + 2) / 13
    assert result.metrics["advantage_abs"] == pytest.approx((4 / 3 + 2 + 2) / 13)
    assert result.metrics["groups_without_credit"] == pytest.approx(1 / 3)


def test_swapped_groups_and_a_flipped_sign_are_seen() -> None:
    """The hand-worked values would not survive either."""
    batch = build(ATTEMPTS)
    right = credit.make("grpo")(batch).advantages
    swapped = [
        Attempt(group, a.episode_return, a.turns) for group, a in zip([1, 0, 0, 0, 1], ATTEMPTS, strict=True)
    ]
    assert not torch.allclose(right, credit.make("grpo")(build(swapped)).advantages)
    flipped = [Attempt(a.group, -a.episode_return, a.turns) for a in ATTEMPTS]
    torch.testing.assert_close(credit.make("grpo")(build(flipped)).advantages, -right)


def test_grpo_refuses_what_is_not_allowed() -> None:
    """And says what is."""
    with pytest.raises(ValueError, match="baseline is 'turn'; it must be one of episode, step"):
        credit.make("grpo", baseline="turn")
    with pytest.raises(ValueError, match=r"eps is -1\.0; it must lie in \[0\.0, inf\]"):
        credit.make("grpo", eps=-1.0)
