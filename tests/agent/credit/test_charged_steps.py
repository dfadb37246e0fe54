"""A penalty on a step alone (`rollout.invalid_penalty_on=step`) and the credit of the steps before it."""

from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from tests.helpers.builders import Attempt, build, turn


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gigpo", {}),
        ("hgpo", {}),
        ("rtmc", {}),
        ("reinforce_pp", {"baseline": "none"}),
        ("turn_gae", {}),
        ("vine", {}),
    ],
)
def test_a_charged_step_takes_nothing_from_the_steps_before_it(name: str, fields: dict[str, Any]) -> None:
    """Two won attempts of three steps differ in a penalty on the second step of one: it alone is less."""
    ways = ((0, 1, 2), (0, 3, 4))
    batch = build(
        [
            Attempt(0, 1.0, tuple(turn(2, anchor=a, reward=float(n == 2)) for n, a in enumerate(way)))
            for way in ways
        ]
    )
    penalty = torch.zeros(batch.num_steps)
    penalty[4] = 0.25
    charged = batch.with_columns(penalty=penalty, reward=batch.steps.reward - penalty)
    got = credit.make(name, **fields)(charged).advantages
    (first, second, third), (alike, refused, last) = (
        row[mask][::2].tolist() for row, mask in zip(got, batch.action_mask, strict=True)
    )
    assert (first, third) == pytest.approx((alike, last), abs=1e-6)
    assert refused < second or name == "hgpo"  # which compares it with no other step here
