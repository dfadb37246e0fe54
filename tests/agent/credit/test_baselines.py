"""Dr. GRPO, RLOO and REINFORCE++ by hand."""

import math

import pytest

from stepopsd_agent import credit
from tests.helpers.builders import Attempt, build, by_step, turn

# Returns 1, 1, 0 in group 0 with 2, 1 and 3 steps; 4 and 2 in group 1 with a step each; every step one token.
ATTEMPTS = [
    Attempt(0, 1.0, (turn(1), turn(1, reward=1.0))),
    Attempt(0, 1.0, (turn(1, reward=1.0),)),
    Attempt(0, 0.0, (turn(1), turn(1), turn(1))),
    Attempt(1, 4.0, (turn(1, reward=4.0),)),
    Attempt(1, 2.0, (turn(1, reward=2.0),)),
]


def tokens(name: str, **fields: object) -> list[float]:
    """The credit of every token."""
    batch = build(ATTEMPTS)
    return [value for step in by_step(batch, credit.make(name, **fields)(batch).advantages) for value in step]


def test_dr_grpo_is_the_distance_from_the_mean() -> None:
    """Means 2/3 and 3; by step group 0 has the mean 1/2."""
    assert tokens("dr_grpo") == pytest.approx([1 / 3] * 3 + [-2 / 3] * 3 + [1, -1])
    assert tokens("dr_grpo", baseline="step")[:6] == pytest.approx([1 / 2] * 3 + [-1 / 2] * 3)


def test_rloo_is_the_distance_from_the_mean_of_the_others() -> None:
    """The others of a 1 are 1 and 0, those of the 0 are two 1s; 4 against 2 and 2 against 4."""
    assert tokens("rloo") == pytest.approx([1 / 2] * 3 + [-1.0] * 3 + [2, -2])


def test_reinforce_pp_whitens_centred_returns_over_all_tokens() -> None:
    """Centred 1/3 x3, -2/3 x3, 1, -1: mean -1/8, squares sum to 3/9 + 12/9 + 2 = 11/3."""
    mean, squares = -1 / 8, 11 / 3
    deviation = math.sqrt((squares - 8 * mean**2) / 7)
    expected = [(x - mean) / deviation for x in [1 / 3] * 3 + [-2 / 3] * 3 + [1, -1]]
    assert tokens("reinforce_pp") == pytest.approx(expected, rel=1e-5)


def test_reinforce_pp_without_baseline_whitens_discounted_returns() -> None:
    """With gamma 1/2: 1/2, 1; 1; 0 0 0; 4; 2, of mean 17/16."""
    returns = [0.5, 1, 1, 0, 0, 0, 4, 2]
    mean = sum(returns) / 8
    deviation = math.sqrt(sum((x - mean) ** 2 for x in returns) / 7)
    expected = [(x - mean) / deviation for x in returns]
    assert tokens("reinforce_pp", baseline="none", gamma=0.5) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("dr_grpo", {"baseline": "group"}, "baseline is 'group'; it must be one of episode, step"),
        ("reinforce_pp", {"baseline": "step"}, "baseline is 'step'; it must be one of group, none"),
        ("reinforce_pp", {"gamma": 1.5}, r"gamma is 1\.5; it must lie in \[0\.0, 1\.0\]"),
    ],
)
def test_baselines_refuse_what_is_not_allowed(name: str, fields: dict[str, object], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
