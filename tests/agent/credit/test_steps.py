"""GiGPO and HGPO by hand: steps compared with steps from the same place."""

import math
from typing import Any

import pytest

from stepopsd_agent import credit
from tests.helpers.builders import Attempt, build, by_step, turn

# Two attempts of two steps: both begin at anchor 0; the winner goes on from 1, the loser from 2.
# With gamma 1/2 the discounted returns are 1/2, 1 and 0, 0.
WON = (turn(2, anchor=0), turn(1, anchor=1, reward=1.0))
LOST = (turn(1, anchor=0), turn(1, anchor=2))
PAIR = [Attempt(0, 1.0, WON), Attempt(0, 0.0, LOST)]


def first_tokens(attempts: list[Attempt], name: str, **fields: Any) -> list[float]:
    """The credit of every step's first token."""
    batch = build(attempts)
    credits = credit.make(name, **fields)(batch)
    return [values[0] for values in by_step(batch, credits.advantages)]


def test_gigpo_adds_the_steps_part_where_an_anchor_repeats() -> None:
    """A^E = +-1/2 over steps (1 1 0 0, mean 1/2); at anchor 0 the returns 1/2 and 0 have the mean 1/4."""
    got = first_tokens(PAIR, "gigpo", gamma=0.5, std=False)
    assert got == pytest.approx([0.5 + 0.25, 0.5, -0.5 - 0.25, -0.5])
    got = first_tokens(PAIR, "gigpo", gamma=0.5, std=False, step_weight=2.0)
    assert got == pytest.approx([1.0, 0.5, -1.0, -0.5])


def test_gigpo_with_deviations_matches_hand_worked_values() -> None:
    """Over steps 1 1 0 0 deviate by sqrt(1/3); 1/2 and 0 by sqrt(1/8), a quarter of which is 1/sqrt 2."""
    base, step = 0.5 / math.sqrt(1 / 3), 0.25 / math.sqrt(1 / 8)
    got = first_tokens(PAIR, "gigpo", gamma=0.5)
    assert got == pytest.approx([base + step, base, -base - step, -base], rel=1e-5)


def test_gigpo_keeps_anchors_of_different_groups_apart() -> None:
    """The same observation in another task is another place."""
    other = [Attempt(1, 1.0, WON), Attempt(1, 1.0, (turn(1, anchor=3, reward=1.0),))]
    got = first_tokens([*PAIR, *other], "gigpo", gamma=0.5, std=False)
    assert got[:4] == pytest.approx([0.75, 0.5, -0.75, -0.5]) and got[4:] == pytest.approx([0.0] * 3)
    counted = credit.make("gigpo")(build(PAIR)).metrics
    assert counted["steps_with_shared_anchor"] == pytest.approx(0.5)


# Three attempts; anchors 0 1, 0 1, 2 1; returns 1/2 1, 0 0, 1/2 1 with gamma 1/2.
THREE = [
    Attempt(0, 1.0, (turn(1, anchor=0), turn(1, anchor=1, reward=1.0))),
    Attempt(0, 0.0, (turn(1, anchor=0), turn(1, anchor=1))),
    Attempt(0, 1.0, (turn(1, anchor=2), turn(1, anchor=1, reward=1.0))),
]


def test_hgpo_weighs_longer_shared_histories_more() -> None:
    """Second steps: circle 1 has 1 0 1, mean 2/3; circle 2 those with history (0, 1) has 1 0, mean 1/2."""
    got = first_tokens(THREE, "hgpo", gamma=0.5, history=1, std=False)
    first = 0.25  # circle 1 of the first steps at anchor 0: 1/2 and 0; they have no second circle
    won, lost = (2 * (1 / 3) + 3 * (1 / 2)) / 5, (2 * (-2 / 3) + 3 * (-1 / 2)) / 5
    alone = 1 / 3  # the third attempt's history (2, 1) is its own
    assert got == pytest.approx([first, won, -first, lost, 0.0, alone], rel=1e-5)


def test_hgpo_without_history_is_the_steps_part_of_gigpo() -> None:
    """With population deviations: 1/2 and 0 give +-1; 1 0 1 deviate by sqrt(2)/3."""
    got = first_tokens(THREE, "hgpo", gamma=0.5, history=0)
    high, low = (1 / 3) / (math.sqrt(2) / 3), (-2 / 3) / (math.sqrt(2) / 3)
    assert got == pytest.approx([1.0, high, -1.0, low, 0.0, high], rel=1e-5)


def test_hgpo_with_alpha_zero_takes_the_plain_mean_over_circles() -> None:
    """(1/3 + 1/2) / 2."""
    got = first_tokens(THREE, "hgpo", gamma=0.5, history=1, std=False, alpha=0.0)
    assert got[1] == pytest.approx((1 / 3 + 1 / 2) / 2, rel=1e-5)


def test_hgpo_looks_no_further_back_than_the_episode() -> None:
    """A long history asked of short episodes changes nothing."""
    assert first_tokens(THREE, "hgpo", history=1) == first_tokens(THREE, "hgpo", history=7)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("gigpo", {"step_weight": -1.0}, r"step_weight is -1\.0"),
        ("gigpo", {"baseline": "token"}, "baseline is 'token'"),
        ("hgpo", {"history": -1}, "history is -1; it must lie in"),
        ("hgpo", {"gamma": 2.0}, r"gamma is 2\.0"),
    ],
)
def test_step_methods_refuse_what_is_not_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
