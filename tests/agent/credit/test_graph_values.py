"""GraphHCA and RTMC by hand: steps judged by what all attempts of their group did."""

import math
from collections.abc import Iterable
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from tests.helpers.builders import Attempt, build, by_step, random_attempts, turn

START, SHELF, GOAL, LOST = range(1, 5)
HALF = math.sqrt(0.5)
"""How far two unequal values are from their mean, in sample deviations."""


def attempt(places: list[int], won: bool, group: int = 0) -> Attempt:
    """An episode through these places, paid 1 at its last step if it is won."""
    turns = [turn(1, anchor=place) for place in places[:-1]]
    turns[-1] = replace(turns[-1], reward=float(won))
    return Attempt(group, float(won), tuple(turns), last_anchor=places[-1])


def exact(attempts: Iterable[Attempt]) -> Batch:
    """Their batch in double precision."""
    return build(list(attempts)).to(dtype=torch.float64)


def per_step(attempts: Iterable[Attempt], name: str, **fields: Any) -> list[float]:
    """The credit of every step's first token."""
    batch = exact(attempts)
    return [values[0] for values in by_step(batch, credit.make(name, **fields)(batch).advantages)]


def scored(values: list[float]) -> list[float]:
    """In sample deviations from their mean."""
    return [(value - mean(values)) / stdev(values) for value in values]


BRANCH = [attempt([START, SHELF, GOAL], True), attempt([START, LOST], False)]
"""Two ways from the start, one of them to the goal."""
LOOP = [attempt([START, SHELF, START, GOAL], True), attempt([START, LOST], False)]
"""The winner walks to the shelf and back first."""
STRANDED = [attempt([START, SHELF, GOAL], True), attempt([START, SHELF], False)]
"""The loser runs out of steps where the winner goes on."""
ALL_LOST = [attempt([START, SHELF, START, LOST], False), attempt([START, LOST], False)]
ALL_WON = [attempt([START, SHELF, GOAL], True), attempt([START, GOAL], True)]


def hca(attempts: Iterable[Attempt], **fields: Any) -> list[float]:
    """GraphHCA with gamma 1/2 and no eps."""
    return per_step(attempts, "graph_hca", **{"gamma": 0.5, "eps": 0.0, **fields})


def rtmc(attempts: Iterable[Attempt], **fields: Any) -> list[float]:
    """RTMC with gamma 1/2."""
    return per_step(attempts, "rtmc", **{"gamma": 0.5, **fields})


def test_graph_hca_praises_the_way_that_succeeds() -> None:
    """Phi is 1/2 at the shelf and 0 where the loser ended; the shelf is left once. GRPO gives +-HALF."""
    assert hca(BRANCH) == pytest.approx([HALF + HALF, HALF, -HALF - HALF])
    assert hca(BRANCH, graph_weight=3.0) == pytest.approx([4 * HALF, HALF, -4 * HALF])


def test_graph_hca_solves_a_loop() -> None:
    """With x at the start and x/2 at the shelf: x = 1/2 (x/2 + 1 + 0) / 3, so x = 2/11.

    What the three steps from the start led to: 1/11, 1, and 0, which counts as 1/100.
    """
    shelf, goal, lost = scored([math.log(1 / 11), 0.0, math.log(0.01)])
    assert hca(LOOP) == pytest.approx([HALF + shelf, HALF, HALF + goal, -HALF + lost], rel=1e-9)
    batch = exact(LOOP)
    metrics = credit.make("graph_hca", gamma=0.5)(batch).metrics
    assert metrics["chance_of_success"] == pytest.approx((2 + 1 + 2 + 2) / 11 / 4)
    assert (metrics["steps_with_graph_credit"], metrics["steps_below_floor"]) == (3 / 4, 0.0)


def test_graph_hca_tells_nothing_apart_below_its_floor() -> None:
    """With a floor of 1/2 the shelf (1/11) is as bad as losing."""
    low, high = -1 / math.sqrt(3), 2 / math.sqrt(3)  # (0 - 1/3) and (1 - 1/3) over sqrt(1/3)
    assert hca(LOOP, floor=0.5) == pytest.approx([HALF + low, HALF, HALF + high, -HALF + low])


def test_graph_hca_counts_how_often_a_way_was_taken() -> None:
    """Behind the shelf two of three attempts win, behind the second place one of three: Phi 1/3 and 1/6."""
    desk, other = 8, 9
    ends = [(SHELF, True), (SHELF, True), (SHELF, False), (desk, True), (desk, False), (desk, False)]
    attempts = [attempt([START, place, GOAL if won else other], won) for place, won in ends]
    got, base = hca(attempts), per_step(attempts, "grpo", eps=0.0)
    shelf, *_, table = scored([math.log(1 / 3)] * 3 + [math.log(1 / 6)] * 3)
    assert [got[i] - base[i] for i in (0, 6)] == pytest.approx([shelf, table])
    assert shelf > 0 > table


def test_graph_hca_with_shared_ends_gives_up_a_place_where_somebody_was_stranded() -> None:
    """The shelf is worth 0 to all, so nothing is left to compare; with ends apart it is worth 1/2."""
    assert hca(STRANDED) == pytest.approx([HALF, HALF, -HALF])
    assert hca(STRANDED, ends="apart") == pytest.approx([2 * HALF, HALF, -2 * HALF])
    metrics = credit.make("graph_hca")(exact(STRANDED)).metrics
    assert metrics["steps_from_failed_ends"] == pytest.approx(1 / 3)


def test_graph_hca_takes_a_place_for_the_goal_where_one_won_and_another_lost() -> None:
    """Both steps lead to 1; only with ends apart is one worth less."""
    attempts = [attempt([START, GOAL], True), attempt([START, GOAL], False)]
    assert hca(attempts) == pytest.approx([HALF, -HALF])
    assert hca(attempts, ends="apart") == pytest.approx([2 * HALF, -2 * HALF])
    passing = [*attempts, attempt([START, GOAL, SHELF], True)]
    assert credit.make("graph_hca")(exact(passing)).metrics["steps_from_failed_ends"] == 0.0


def test_graph_hca_gives_nothing_to_a_group_without_success() -> None:
    """Not by rounding either."""
    assert hca(ALL_LOST, eps=1e-6) == [0.0] * 4


def test_graph_hca_blames_the_detour_where_everybody_succeeds() -> None:
    """1/2 at the shelf, 1 at the goal; GRPO has nothing to say."""
    assert hca(ALL_WON, eps=1e-9) == pytest.approx([-HALF, 0.0, HALF], rel=1e-6)


def test_graph_hca_without_its_graph_is_grpo() -> None:
    """Exactly."""
    attempts = random_attempts(0)
    for baseline in ("episode", "step"):
        expected = per_step(attempts, "grpo", baseline=baseline)
        assert per_step(attempts, "graph_hca", graph_weight=0.0, baseline=baseline) == expected


def test_graph_hca_keeps_groups_apart() -> None:
    """The same places in a group without success change nothing in the other."""
    lost = [replace(one, group=1) for one in ALL_LOST]
    assert hca([*BRANCH, *lost], eps=1e-9) == pytest.approx([*hca(BRANCH, eps=1e-9), *[0.0] * 4])


def test_graph_hca_takes_rounding_for_no_difference() -> None:
    """Through each of two places go 10 attempts, 3 of which win, in another order: both have the same Phi."""
    order = [True, False, False, True, False, False, False, False, True, False]
    attempts = [
        attempt([START, place, GOAL if won else LOST], won)
        for place, way in ((SHELF, order), (9, sorted(order)))
        for won in way
    ]
    got, base = hca(attempts), per_step(attempts, "grpo", eps=0.0)
    assert got[::2] == base[::2]


def test_rtmc_compares_what_was_done_with_the_place() -> None:
    """From the start Q = 1/2 and 0, V = 1/4, mean R = 1/2: V' = (2/4 + 2/2) / 4 = 3/8.

    From the shelf Q = V = 1, N = 1: V' = (1 + 2/2) / 3 = 2/3.
    """
    assert rtmc(BRANCH) == pytest.approx([1 / 2 - 3 / 8, 1 - 2 / 3, -3 / 8])
    assert rtmc(BRANCH, prior_count=0.0) == pytest.approx([1 / 4, 0.0, -1 / 4])
    metrics = credit.make("rtmc", gamma=0.5)(exact(BRANCH)).metrics
    # N is 2, 1, 2 and V 1/4, 1, 1/4; the prior's shares are 2/4, 2/3, 2/4.
    assert metrics["visits_per_node"] == pytest.approx(5 / 3)
    assert metrics["node_value"] == pytest.approx(1 / 2)
    assert metrics["prior_share"] == pytest.approx(5 / 9)


def test_rtmc_counts_a_place_once_for_each_thing_done_there() -> None:
    """From the start G = 1/4, 1 and 0, so N = 3 and V' = (5/4 + 1) / 5 = 9/20; at the shelf (1/2 + 1) / 3."""
    assert rtmc(LOOP) == pytest.approx([1 / 4 - 9 / 20, 1 / 2 - 1 / 2, 1 - 9 / 20, -9 / 20])


def test_rtmc_counts_the_first_time_only() -> None:
    """The winner goes to the shelf twice: the first time G is 1/8, and so is Q, for both steps.

    At the start V' = (1/8 + 0 + 1) / 4 = 9/32; at the shelf Q = 1/4 and 1, V' = (5/4 + 1) / 4 = 9/16.
    """
    attempts = [attempt([START, SHELF, START, SHELF, GOAL], True), attempt([START, LOST], False)]
    expected = [1 / 8 - 9 / 32, 1 / 4 - 9 / 16, 1 / 8 - 9 / 32, 1 - 9 / 16, -9 / 32]
    assert rtmc(attempts) == pytest.approx(expected)


def test_rtmc_gives_nothing_where_nothing_is_won_or_nobody_else_tried() -> None:
    """Exactly zero."""
    assert rtmc(ALL_LOST) == [0.0] * 4
    assert rtmc(LOOP[:1]) == [0.0] * 3
    assert rtmc(ALL_WON, gamma=1.0) == [0.0] * 3


def test_rtmc_blames_the_steps_far_from_the_end_where_everybody_succeeds() -> None:
    """From the start Q = 1/2 and 1, V = 3/4, mean R = 1: V' = (3/2 + 2) / 4 = 7/8; from the shelf 1 all."""
    assert rtmc(ALL_WON) == pytest.approx([1 / 2 - 7 / 8, 0.0, 1 - 7 / 8])


def test_rtmc_prior_count_matters_most_where_a_place_was_visited_once() -> None:
    """There A is n / (1 + n) of G - mean R, and at the start, visited by 2, it is Q - V - n / (2 + n) / 4."""
    for count in (1, 2, 4):
        got = rtmc(BRANCH, prior_count=count)
        assert got[1] == pytest.approx(count / (1 + count) * (1 - 1 / 2))
        assert got[0] == pytest.approx(1 / 4 - count / (2 + count) / 4)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("graph_hca", {"gamma": 1.0}, r"gamma is 1\.0; it must lie in \[0\.0, 0\.999\]"),
        ("graph_hca", {"floor": 0.0}, r"floor is 0\.0"),
        ("graph_hca", {"ends": "open"}, "ends is 'open'; it must be one of shared, apart"),
        ("graph_hca", {"key": "room"}, "key is 'room'; it must be one of observation, state, text"),
        ("rtmc", {"prior_count": -1.0}, r"prior_count is -1\.0"),
        ("rtmc", {"key": "room"}, "key is 'room'"),
    ],
)
def test_graph_methods_refuse_what_is_not_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    """When they are made."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
