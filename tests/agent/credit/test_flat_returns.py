"""Returns that differ by rounding alone are equal, and a group that is flat for one is flat for all."""

import dataclasses
from typing import Any

import pytest
import torch

from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.learner import teacher_rows
from tests.helpers.builders import Attempt, build, turn

SAME = (1 - 0.1 - 0.1 - 0.1 - 0.1, 0.7 - 0.1, 0.6)
"""Three ways to a return of 0.6: the first differs from the others in double precision."""
SINGLE = tuple((torch.tensor([1.0, 0.7, 0.6]) - torch.tensor([4.0, 1.0, 0.0]) * torch.tensor(0.1)).tolist())
"""The same sums in single precision: 1 - 4 x 0.1 is then 6e-8 from 0.7 - 0.1."""
FLAT = [name for name in credit.names() if "equal_returns_zero" in credit.load(name).claims]
BY_GROUP = ["dr_grpo", "grpo", "rloo"]


def group_of(returns: tuple[float, ...], number: int = 0) -> list[Attempt]:
    """An episode of each length for each return."""
    return [Attempt(number, one, (turn(2, action=(0, 1)),) * (i + 1)) for i, one in enumerate(returns)]


def with_returns(returns: tuple[float, ...], dtype: torch.dtype) -> Batch:
    """The batch of these returns, which are not rounded on the way."""
    batch = build(group_of(returns)).to(dtype=dtype)
    return batch.with_columns(episode_return=torch.tensor(returns, dtype=dtype))


def of(name: str, **fields: Any) -> CreditMethod:
    """A method without the eps that would hide a tiny deviation."""
    known = {field.name for field in dataclasses.fields(credit.load(name))}
    return credit.make(name, **{key: value for key, value in ({"eps": 0.0} | fields).items() if key in known})


def test_differ_is_above_rounding_and_below_what_is_paid() -> None:
    """At any size: a hundred rewards of 0.1 in another order, and the smallest that F1 can differ by."""
    assert SAME[0] != SAME[1] and not ops.differ(min(SAME), max(SAME))
    for size in (1.0, 10.0, 1000.0):
        rewards = [size * 0.1] * 50 + [-size * 0.3] * 50
        sums = sorted((sum(rewards), sum(reversed(rewards)), sum(rewards[::2]) + sum(rewards[1::2])))
        assert not ops.differ(sums[0], sums[-1])
        assert ops.differ(size, size * 1.00001) and ops.differ(-size * 1.00001, -size)
    assert not ops.differ(-2.8e-17, 0.0) and not ops.differ(1.0, 1.0)
    assert ops.differ(0.0, 1e-5) and ops.differ(0.6, 0.6001)


def test_groups_are_mixed_and_levelled_by_the_same_difference() -> None:
    """Nothing of a mixed group is touched, to the bit; of a flat one all are its lowest."""
    values = torch.tensor([*SAME, 0.6, 0.6 + 1e-15, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    group = torch.tensor([0, 0, 0, 1, 1, 1, 3, 3, 4])
    assert ops.mixed(values, group, 5).tolist() == [False, True, False, False, False]
    level = ops.levelled(values, group, 5)
    assert level[:3].tolist() == [min(SAME)] * 3 and torch.equal(level[3:], values[3:])
    assert not ops.standardised(level, group, 5, eps=0.0)[[0, 1, 2, 6, 7, 8]].any()


@pytest.mark.parametrize("name", FLAT)
def test_rounding_gives_no_credit(name: str) -> None:
    """In either precision, even where the method's eps is zero, which a whole advantage would come of."""
    for returns, dtype in ((SAME, torch.float64), (SINGLE, torch.float32)):
        assert len(set(returns)) > 1
        result = of(name, span="turn")(with_returns(returns, dtype))
        assert not result.advantages.any(), result.advantages
    rows = teacher_rows(of(name, span="turn"), with_returns(SAME, torch.float64))
    assert rows is None or not rows.any()


def test_rounding_in_a_batch_is_not_whitened() -> None:
    """Values that are equal all over a batch give zero, whatever their sum rounds to."""
    for baseline in ("group", "none"):
        for returns in (SAME, (0.6, 0.6, 0.6)):
            batch = build([Attempt(0, one, (turn(2),)) for one in returns]).to(dtype=torch.float64)
            exact = torch.tensor(returns, dtype=torch.float64)
            batch = batch.with_columns(episode_return=exact, reward=exact)
            assert not of("reinforce_pp", baseline=baseline)(batch).advantages.any()


def test_returns_of_zero_and_one_are_as_they_were() -> None:
    """To the bit: deviations from the mean over the sample deviation, computed here."""
    returns = torch.tensor([0.0, 1.0, 1.0])
    batch = build(group_of((0.0, 1.0, 1.0)))
    got = credit.make("grpo")(batch).advantages
    mean = returns.sum() / 3
    by_hand = (returns - mean) / (((returns - mean).square().sum() / 2).sqrt() + 1e-6)
    assert [row[mask].unique().tolist() for row, mask in zip(got, batch.action_mask, strict=True)] == [
        [float(x)] for x in by_hand
    ]


@pytest.mark.parametrize("name", [*FLAT, "reinforce_pp"])
def test_steps_charged_alike_are_a_flat_group(name: str) -> None:
    """The same penalty on every step leaves the group's scores equal: nothing to learn from it."""
    batch = build(group_of((1.0, 1.0, 1.0)))
    charged = batch.with_columns(
        penalty=torch.full((batch.num_steps,), 0.1), reward=torch.where(batch.last_step, 0.9, -0.1)
    )
    method = of(name, span="turn", gamma=1.0)
    assert not method(charged).advantages.any()


@pytest.mark.parametrize("name", BY_GROUP)
def test_one_charged_step_is_told_from_the_others(name: str) -> None:
    """Six scores, five of 1 and one of 0.9: their mean is 1 - 1/60, so A of the one is -1/12 without std."""
    batch = build(group_of((1.0, 1.0, 1.0)))
    penalty = torch.zeros(batch.num_steps)
    penalty[0] = 0.1
    got = of(name, std=False)(batch.with_columns(penalty=penalty)).advantages
    by_step = [float(got[batch.tokens.step_of_token == step][0]) for step in range(batch.num_steps)]
    assert by_step == pytest.approx([-1 / 12, *[1 / 60] * 5], abs=1e-6)
