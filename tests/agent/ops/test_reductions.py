"""Reductions over groups, steps and masks."""

import math
from random import Random

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent import ops
from tests.helpers.builders import steady

VALUES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=12)


def test_group_mean_and_std_match_hand_worked_values() -> None:
    """Sample deviations, ids in any order."""
    values = torch.tensor([1.0, 10.0, 3.0, 8.0, 5.0])
    group = torch.tensor([0, 1, 0, 1, 0])
    # group 0: (1 + 3 + 5) / 3 = 3, variance (4 + 0 + 4) / 2 = 4
    # group 1: (10 + 8) / 2 = 9, variance (1 + 1) / 1 = 2
    assert ops.group_mean(values, group, 2).tolist() == [3.0, 9.0]
    torch.testing.assert_close(ops.group_std(values, group, 2), torch.tensor([2.0, math.sqrt(2.0)]))
    assert ops.group_count(group, 2).tolist() == [3, 2]


def test_group_reductions_give_zero_for_an_id_that_does_not_occur() -> None:
    """Zero is what is documented for an empty group."""
    values, group = torch.tensor([4.0]), torch.tensor([2])
    assert ops.group_mean(values, group, 3).tolist() == [0.0, 0.0, 4.0]
    assert ops.group_std(values, group, 3).tolist() == [0.0, 0.0, 0.0]


@given(VALUES)
@steady
def test_group_std_agrees_with_torch_on_one_group(numbers: list[float]) -> None:
    """Two implementations that must agree."""
    values = torch.tensor(numbers, dtype=torch.float64)
    expected = values.std() if len(numbers) > 1 else torch.tensor(0.0, dtype=torch.float64)
    got = ops.group_std(values, torch.zeros(len(numbers), dtype=torch.int64), 1)[0]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 9))
@steady
def test_group_mean_of_equal_values_is_that_value_exactly(number: float, count: int) -> None:
    """Else equal returns would get the rounding error divided by eps as advantage."""
    values = torch.full((count,), number)
    group = torch.zeros(count, dtype=torch.int64)
    assert ops.group_mean(values, group, 1).item() == values[0].item()
    assert ops.group_std(values, group, 1).item() == 0.0


@given(VALUES, st.randoms(use_true_random=False))
@steady
def test_group_mean_does_not_depend_on_order(numbers: list[float], random: Random) -> None:
    """A group is a set."""
    values = torch.tensor(numbers, dtype=torch.float64)
    group = torch.arange(len(numbers)) % 2
    order = list(range(len(numbers)))
    random.shuffle(order)
    shuffled = ops.group_mean(values[order], group[order], 2)
    torch.testing.assert_close(ops.group_mean(values, group, 2), shuffled, rtol=1e-12, atol=1e-10)


def test_masked_mean_counts_what_the_mask_selects() -> None:
    """What is not selected may be anything, even no number."""
    values = torch.tensor([[1.0, 2.0, math.nan], [3.0, math.inf, 0.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert ops.masked_mean(values, mask).item() == 2.0  # (1 + 2 + 3) / 3
    assert ops.masked_mean(values, torch.zeros_like(mask)).item() == 0.0


def test_whiten_gives_mean_zero_and_variance_one() -> None:
    """Over the selected values alone."""
    values = torch.tensor([1.0, 99.0, 3.0, 5.0], dtype=torch.float64)
    mask = torch.tensor([True, False, True, True])
    # mean 3, variance (4 + 0 + 4) / 2 = 4: (-2 / 2, 0, 2 / 2)
    expected = torch.tensor([-1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(ops.whiten(values, mask), expected, rtol=1e-6, atol=1e-8)
    assert ops.whiten(values, torch.tensor([True, False, False, False])).tolist() == [0.0] * 4


def test_step_mean_and_spread_are_inverse_on_constant_steps() -> None:
    """Exactly, for values that are no binary fractions too."""
    step_of_token = torch.tensor([[-1, 0, 0, -1, 1], [-1, 2, -1, -1, -1]])
    per_step = torch.tensor([2.0, -3.0, 0.1])
    spread = ops.spread_steps(per_step, step_of_token)
    assert spread[0].tolist() == [0.0, 2.0, 2.0, 0.0, -3.0]
    assert torch.equal(ops.step_mean(spread, step_of_token, 3), per_step)
    assert ops.step_count(step_of_token, 3).tolist() == [2, 1, 1]


def test_step_mean_of_a_step_cut_over_rows_is_over_all_its_tokens() -> None:
    """Rows play no part."""
    step_of_token = torch.tensor([[0, -1], [0, 0]])
    assert ops.step_mean(torch.tensor([[1.0, 50.0], [2.0, 6.0]]), step_of_token, 1).tolist() == [3.0]


def test_masked_mean_refuses_a_mask_that_is_no_mask() -> None:
    """Advantages passed as the mask are a published bug."""
    values = torch.ones(2, 2)
    with pytest.raises(TypeError, match=r"torch\.bool, got torch\.float32"):
        ops.masked_mean(values, values)
    with pytest.raises(ValueError, match=r"\(2, 3\), the values \(2, 2\)"):
        ops.masked_mean(values, torch.ones(2, 3, dtype=torch.bool))


def test_group_mean_refuses_ids_that_do_not_fit() -> None:
    """The message says which ids were got."""
    values = torch.ones(3)
    with pytest.raises(ValueError, match=r"0\.\.1, got 0\.\.2"):
        ops.group_mean(values, torch.tensor([0, 1, 2]), 2)
    with pytest.raises(ValueError, match="int64 of shape"):
        ops.group_mean(values, torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match="one-dimensional"):
        ops.group_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.int64), 1)


MEMBERS = torch.tensor([0, 0, 0, 2, 2, 1])
"""Three members, then two, then one; ids in any order, members together."""
NUMBERS = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def test_discounted_sums_match_hand_worked_values() -> None:
    """1 + 2/2 + 4/4, 2 + 4/2, 4; 8 + 16/2, 16; 32. And from the other end."""
    assert ops.discounted_to_go(NUMBERS, MEMBERS, 3, 0.5).tolist() == [3.0, 4.0, 4.0, 16.0, 16.0, 32.0]
    assert ops.discounted_so_far(NUMBERS, MEMBERS, 3, 0.5).tolist() == [1.0, 2.5, 5.25, 8.0, 20.0, 32.0]
    assert ops.discounted_to_go(NUMBERS, MEMBERS, 3, 0.0).tolist() == NUMBERS.tolist()


def test_discounted_to_go_refuses_groups_in_pieces() -> None:
    """Their order would be a guess."""
    with pytest.raises(ValueError, match="must stand together"):
        ops.discounted_to_go(NUMBERS[:3], torch.tensor([0, 1, 0]), 2, 1.0)


def test_following_and_preceding_stay_within_the_group() -> None:
    """The groups' own values stand behind the last and before the first."""
    ends = torch.tensor([-1.0, -2.0, -3.0])
    assert ops.following(NUMBERS, MEMBERS, ends).tolist() == [2.0, 4.0, -1.0, 16.0, -3.0, -2.0]
    assert ops.preceding(NUMBERS, MEMBERS, ends).tolist() == [-1.0, 1.0, 2.0, -3.0, 8.0, -2.0]


def test_standardised_matches_hand_worked_values() -> None:
    """8 and 16: mean 12, sample deviation 4 sqrt 2, population deviation 4; alone 0."""
    centred = ops.standardised(NUMBERS, MEMBERS, 3, std=False)
    assert centred[3:].tolist() == [-4.0, 4.0, 0.0]
    assert ops.standardised(NUMBERS, MEMBERS, 3, eps=0.0)[3:5].tolist() == pytest.approx(
        [-(0.5**0.5), 0.5**0.5]
    )
    assert ops.standardised(NUMBERS, MEMBERS, 3, eps=0.0, correction=0)[3:5].tolist() == [-1.0, 1.0]
    equal = torch.tensor([0.1, 0.1, 0.1, 5.0, 5.0, 7.0])
    assert (ops.standardised(equal, MEMBERS, 3) == 0).all()


def test_joined_ids_are_equal_where_all_of_them_are() -> None:
    """64-bit hashes among them."""
    large = 2**62
    first, second = torch.tensor([0, 0, 1, 0]), torch.tensor([large, large + 1, large, large])
    joined = ops.joined_ids(first, second)
    assert joined[0] == joined[3] and len(set(joined.tolist())) == 3 and joined.max() == 2
