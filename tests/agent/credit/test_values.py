"""Methods that read values, chances, distances or passages, by hand."""

import math
from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from tests.helpers.builders import Attempt, build, by_step, turn


def per_step(batch: Batch, name: str, **fields: Any) -> list[float]:
    """The credit of every step's first token."""
    return [values[0] for values in by_step(batch, credit.make(name, **fields)(batch).advantages)]


VALUED = build(
    [
        Attempt(0, 1.0, (turn(2, value=0.5, mc_value=0.25), turn(1, value=0.25, mc_value=0.75, reward=1.0))),
        Attempt(0, 0.0, (turn(1, value=0.5, mc_value=0.25),)),
    ]
)


def test_turn_gae_matches_hand_worked_values() -> None:
    """Errors 1/2 * 1/4 - 1/2 = -3/8 and 1 - 1/4 = 3/4, then -1/2; gamma lam = 1/4 adds 3/16 to the first."""
    fields: dict[str, Any] = {"gamma": 0.5, "lam": 0.5, "whiten": False}
    assert per_step(VALUED, "turn_gae", **fields) == pytest.approx([-3 / 8 + 3 / 16, 3 / 4, -1 / 2])
    targets = credit.make("turn_gae", **fields)(VALUED).value_targets
    assert targets is not None and targets.tolist() == pytest.approx([0.5 - 3 / 16, 1.0, 0.0])


def test_turn_gae_with_lam_one_is_the_discounted_return_minus_the_value() -> None:
    """Whatever the values between: 1/2 - 1/2, 1 - 1/4, 0 - 1/2; the critic's target is the return."""
    got = per_step(VALUED, "turn_gae", gamma=0.5, lam=1.0, whiten=False)
    assert got == pytest.approx([0.0, 0.75, -0.5])
    targets = credit.make("turn_gae", gamma=0.5, lam=1.0)(VALUED).value_targets
    assert targets is not None and targets.tolist() == pytest.approx([0.5, 1.0, 0.0])


def test_turn_gae_whitens_over_tokens() -> None:
    """0, 0, 3/4, -1/2 over four tokens: the first step has two."""
    values = [0.0, 0.0, 0.75, -0.5]
    mean = sum(values) / 4
    deviation = math.sqrt(sum((x - mean) ** 2 for x in values) / 3)
    expected = [(x - mean) / deviation for x in values[1:]]
    assert per_step(VALUED, "turn_gae", gamma=0.5, lam=1.0) == pytest.approx(expected, rel=1e-5)


def test_vine_is_the_difference_of_values() -> None:
    """3/4 - 1/4; 1 - 3/4; 0 - 1/4. Over an episode they sum to its return minus the first value."""
    got = per_step(VALUED, "vine")
    assert got == pytest.approx([0.5, 0.25, -0.25])
    assert got[0] + got[1] == pytest.approx(1.0 - 0.25)


# Chances of the gold answer: 1/4, 1/2, then an answer worth 1; and 1/4, then an answer worth 0.
ASKED = build(
    [
        Attempt(
            0,
            1.0,
            (
                turn(1, gold_answer_logprob=math.log(1 / 4)),
                turn(2, gold_answer_logprob=math.log(1 / 2), reward=1.0),
            ),
        ),
        Attempt(0, 0.0, (turn(1, gold_answer_logprob=math.log(1 / 4)),)),
        Attempt(1, 1.0, (turn(1, reward=1.0), turn(1))),
    ]
)


def test_igpo_sums_normalised_gains() -> None:
    """Rewards 1/4, 1 and 0 of mean 5/12: centred -1/6, 7/12, -5/12; a group of one gets nothing."""
    got = per_step(ASKED, "igpo", std=False)
    assert got == pytest.approx([-1 / 6 + 7 / 12, 7 / 12, -5 / 12, 0.0, 0.0])
    deviation = math.sqrt(((1 / 6) ** 2 + (7 / 12) ** 2 + (5 / 12) ** 2) / 3)
    discounted = per_step(ASKED, "igpo", gamma=0.5)
    expected = [(-1 / 6 + 7 / 24) / deviation, 7 / 12 / deviation, -5 / 12 / deviation, 0.0, 0.0]
    assert discounted == pytest.approx(expected, rel=1e-5)


def test_igpo_can_normalise_outcomes_and_gains_apart() -> None:
    """One gain alone is its own mean; the outcomes 1 and 0 are +-1/2."""
    assert per_step(ASKED, "igpo", std=False, norm="separate")[:3] == pytest.approx([0.5, 0.5, -0.5])


def test_oracle_pays_for_commands_saved() -> None:
    """Distances 3 2 0: 1 and 2 saved; 3 3 4: 0 and -1. Their mean is 1/2."""
    won = Attempt(0, 1.0, (turn(1, distance=3), turn(1, distance=2)), last_distance=0)
    lost = Attempt(0, 0.0, (turn(1, distance=3), turn(1, distance=3)), last_distance=4)
    batch = build([won, lost])
    assert per_step(batch, "oracle", std=False) == pytest.approx([0.5, 1.5, -0.5, -1.5])
    assert credit.make("oracle")(batch).metrics["steps_forward"] == pytest.approx(0.5)


def test_oracle_counts_a_spoiled_episode_as_the_whole_way_lost_and_one_more() -> None:
    """3 to 2 is 1; 2 to unreachable is -(3 + 1); what comes after is 0. The mean is -1."""
    spoiled = Attempt(
        0, 0.0, (turn(1, distance=3), turn(1, distance=2), turn(1, distance=-2)), last_distance=-2
    )
    assert per_step(build([spoiled]), "oracle", std=False) == pytest.approx([2.0, -3.0, 1.0])


def test_oracle_pays_for_gold_passages_and_the_answer() -> None:
    """Shares 0, 1/2, 1, 1: gains 1/2, 1/2, then the reward 1; the other finds nothing and fails. Mean 1/2."""
    turns = (turn(1, gold_seen=0.5), turn(1, gold_seen=1.0), turn(1, gold_seen=1.0, reward=1.0))
    batch = build([Attempt(0, 1.0, turns), Attempt(0, 0.0, (turn(1, gold_seen=0.5),), first_gold_seen=0.5)])
    got = per_step(batch, "oracle", source="gold", std=False)
    assert got == pytest.approx([0.0, 0.0, 0.5, -0.5])


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("turn_gae", {"lam": 1.5}, r"lam is 1\.5; it must lie in \[0\.0, 1\.0\]"),
        ("igpo", {"norm": "turn"}, "norm is 'turn'; it must be one of joint, separate"),
        ("oracle", {"source": "reward"}, "source is 'reward'; it must be one of distance, gold"),
    ],
)
def test_value_methods_refuse_what_is_not_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
