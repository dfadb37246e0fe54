"""GraphGPO and G2PO by hand: steps compared in the merged graph of all attempts."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from tests.helpers.builders import Attempt, build, by_step, turn


def attempt(places: str, won: bool, group: int = 0) -> Attempt:
    """An episode through places named by letters; its last one is where it ended."""
    numbers = [ord(place) for place in places]
    turns = tuple(turn(1, anchor=number) for number in numbers[:-1])
    return Attempt(group, float(won), turns, last_anchor=numbers[-1])


def on_batch(batch: Batch, name: str, **fields: Any) -> list[float]:
    """The credit of every step, computed in double precision."""
    batch = batch.to(dtype=torch.float64)
    return [values[0] for values in by_step(batch, credit.make(name, **fields)(batch).advantages)]


def per_step(attempts: list[Attempt], name: str, **fields: Any) -> list[float]:
    """The credit of every step of these attempts."""
    return on_batch(build(attempts), name, **fields)


# A won by B; the second attempt turned back from B, to be lost in D; the third came from E, left by no other.
# Steps: A>B B>! | A>B B>A A>D | E>A A>D. Fewest steps to success: B 1, A 2, E 3; D, of no return, 3 + 1.
GROUP = [attempt("ABC", True), attempt("ABAD", False), attempt("EAD", False)]
EPISODE = [2 / 3, 2 / 3, -1 / 3, -1 / 3, -1 / 3, -1 / 3, -1 / 3]  # returns 1 0 0, mean 1/3
PLAIN: dict[str, Any] = {"std": False, "baseline": "episode"}


def added(part: list[float]) -> Any:
    """The episodes' part and this one, about."""
    return pytest.approx([one + other for one, other in zip(EPISODE, part, strict=True)], abs=1e-5)


def test_graph_gpo_compares_the_steps_that_leave_a_place() -> None:
    """Values 1/2 1 | 1/2 1/4 1/16 | 1/4 1/16: at A mean 9/32, at B 5/8; a lost step is praised."""
    part = [7 / 32, 3 / 8, 7 / 32, -3 / 8, -7 / 32, 0, -7 / 32]
    assert per_step(GROUP, "graph_gpo", omega=0.5, **PLAIN) == added(part)
    half = per_step(GROUP, "graph_gpo", omega=0.5, graph_weight=0.5, episode_weight=0.0, **PLAIN)
    assert half == pytest.approx([value / 2 for value in part])


def test_graph_gpo_exponents_differ_by_a_factor_at_every_place() -> None:
    """1/2 everywhere for the step itself; for progress 2^(2 - 1) at A and 2^(1 - 1) at B."""
    counted = per_step(GROUP, "graph_gpo", omega=0.5, exponent="cost_and_next", **PLAIN)
    assert counted == added([7 / 64, 3 / 16, 7 / 64, -3 / 16, -7 / 64, 0, -7 / 64])
    progress = per_step(GROUP, "graph_gpo", omega=0.5, exponent="progress", **PLAIN)
    assert progress == added([7 / 16, 3 / 8, 7 / 16, -3 / 8, -7 / 16, 0, -7 / 16])


@pytest.mark.parametrize("exponent", ["next", "cost_and_next", "progress"])
def test_graph_gpo_with_deviations_matches_hand_worked_values(exponent: str) -> None:
    """Two high and two low at A: sqrt(3)/2; one and one at B: 1/sqrt(2). Steps 1 1 0 0 0 0 0 have mean 2/7.

    Their sample variance is (2 * 25 + 5 * 4) / 49 / 6 = 5/21.
    """
    a, b = math.sqrt(3) / 2, 1 / math.sqrt(2)
    won, lost = 5 / 7 / math.sqrt(5 / 21), -2 / 7 / math.sqrt(5 / 21)
    got = per_step(GROUP, "graph_gpo", omega=0.5, exponent=exponent)
    assert got == pytest.approx([won + a, won + b, lost + a, lost - b, lost - a, lost, lost - a], abs=1e-5)


def test_graph_gpo_gives_a_group_without_success_nothing() -> None:
    """Exactly, though it has branches and a loop."""
    lost = [replace(one, episode_return=0.0) for one in GROUP]
    for exponent in ("next", "cost_and_next", "progress"):
        assert per_step(lost, "graph_gpo", exponent=exponent) == [0] * 7


def test_graph_gpo_parts_a_won_end_from_the_place_where_another_was_lost() -> None:
    """Both end in C, one with success: d(A) 1, d(C) 2; q at A 1 and 1/4, mean 5/8."""
    got = per_step([attempt("AC", True), attempt("AC", False)], "graph_gpo", omega=0.5, **PLAIN)
    assert got == pytest.approx([1 / 2 + 3 / 8, -1 / 2 - 3 / 8])


def test_graph_gpo_sees_some_seven_steps_far_and_further_by_progress() -> None:
    """From every place of a way of twelve steps another attempt got lost: q against 0, and eps is 1e-7."""
    way = "ABCDEFGHIJKLM"
    batch = build([attempt(way, True), *(attempt(place + "Z", False) for place in way[:-1])])
    quality = [10.0**-left for left in range(11, -1, -1)]
    near = on_batch(batch, "graph_gpo", episode_weight=0.0)[:12]
    assert near == pytest.approx([q / 2 / (q / math.sqrt(2) + 1e-7) for q in quality], abs=1e-5)
    assert near[2] < 0.01 < 0.29 < near[4] < 0.3 < 0.61 < near[5]
    progress = on_batch(batch, "graph_gpo", episode_weight=0.0, exponent="progress")[:12]
    assert progress == pytest.approx([1 / math.sqrt(2)] * 12, abs=0.01)


# With gamma 1/2: v is 1/4 1/2 | 0 0 0 | 0 0, so V(A) = 1/4 / 4, V(B) = 1/2 / 2, V(E) = 0. V', delta in 16ths:
#   V'     4 16 | 4  1  0 | 1  0
#   delta  3 12 | 3 -3 -1 | 1 -1    sum 14, mean 2, so 1 10 | 1 -5 -3 | -1 -3, whose squares sum to 146
NODE = [1 / 8, 15 / 32, 1 / 8, -15 / 32, -1 / 8, 0, -1 / 8]  # at A mean 1/8, at B 17/32
EDGE = [value / 16 for value in (1, 10, 1, -5, -3, -1, -3)]


def test_g2po_adds_both_comparisons() -> None:
    """Each with its weight."""
    assert per_step(GROUP, "g2po", gamma=0.5, edge_weight=0.0, **PLAIN) == added(NODE)
    assert per_step(GROUP, "g2po", gamma=0.5, node_weight=0.0, **PLAIN) == added(EDGE)
    both = [2 * node + 3 * edge for node, edge in zip(NODE, EDGE, strict=True)]
    assert per_step(GROUP, "g2po", gamma=0.5, node_weight=2.0, edge_weight=3.0, **PLAIN) == added(both)


def test_g2po_with_deviations_matches_hand_worked_values() -> None:
    """At A sqrt(3)/2, at B 1/sqrt(2), as above; deltas deviate by sqrt(146 / 6) / 16."""
    a, b = math.sqrt(3) / 2, 1 / math.sqrt(2)
    won, lost = 5 / 7 / math.sqrt(5 / 21), -2 / 7 / math.sqrt(5 / 21)
    node = [won + a, won + b, lost + a, lost - b, lost - a, lost, lost - a]
    expected = [one + 16 * edge / math.sqrt(146 / 6) for one, edge in zip(node, EDGE, strict=True)]
    assert per_step(GROUP, "g2po", gamma=0.5) == pytest.approx(expected, abs=1e-5)


def test_g2po_gives_the_end_of_a_lost_attempt_no_value() -> None:
    """It stands in B, of value 1/4, when time is up: V' at A is 1/4 and 0, mean 1/8."""
    got = per_step([attempt("ABC", True), attempt("AB", False)], "g2po", gamma=0.5, edge_weight=0.0, **PLAIN)
    assert got == pytest.approx([1 / 2 + 1 / 8 + 1 / 8, 1 / 2, -1 / 2 - 1 / 4])


def test_g2po_blames_a_refused_step_among_equals() -> None:
    """One of three: -(3 - 1) / sqrt(3), the others half of it the other way; nothing without the penalty."""
    batch = build([attempt("AB", False), attempt("AC", False), attempt("AA", False)])
    refused = replace(batch, steps=replace(batch.steps, valid=torch.tensor([True, True, False])))
    blamed = [1 / math.sqrt(3), 1 / math.sqrt(3), -2 / math.sqrt(3)]
    assert on_batch(refused, "g2po") == pytest.approx(blamed, abs=1e-4)
    assert on_batch(refused, "g2po", std=False) == pytest.approx([0.01 / 3, 0.01 / 3, -0.02 / 3])
    assert on_batch(refused, "g2po", invalid_penalty=0.0) == [0, 0, 0]
    assert on_batch(batch, "g2po") == [0, 0, 0]


def test_metrics_tell_what_the_graphs_had_to_compare() -> None:
    """Six of the seven steps leave A or B; places A B D E and SUCCESS, or C; D is no way to success."""
    graph, value = (credit.make(name)(build(GROUP)).metrics for name in ("graph_gpo", "g2po"))
    for metrics in (graph, value):
        assert metrics["steps_from_shared_node"] == pytest.approx(6 / 7)
        assert metrics["nodes_per_group"] == 5
    assert graph["steps_with_graph_credit"] == pytest.approx(6 / 7)
    assert graph["steps_towards_success"] == pytest.approx(5 / 7)
    assert graph["steps_nearer"] == pytest.approx(4 / 7)
    assert value["steps_gaining"] == pytest.approx(4 / 7)


COLUMNS = {"observation": "anchor", "state": "state", "text": "text_key"}


@pytest.mark.parametrize("key", COLUMNS)
@pytest.mark.parametrize("name", ["graph_gpo", "g2po"])
def test_a_key_is_read_from_its_columns(name: str, key: str) -> None:
    """Where all other columns say that there is one place only."""
    batch = build(GROUP)
    others = {c for column in COLUMNS.values() if column != COLUMNS[key] for c in (column, f"next_{column}")}
    blurred = batch.with_columns(**{column: torch.zeros_like(batch.steps.anchor) for column in others})
    assert on_batch(blurred, name, key=key) == on_batch(batch, name)
    wrong = next(other for other in COLUMNS if other != key)
    assert on_batch(blurred, name, key=wrong) != on_batch(batch, name)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("graph_gpo", {"omega": 1.5}, r"omega is 1\.5; it must lie in"),
        ("graph_gpo", {"exponent": "last"}, "exponent is 'last'"),
        ("graph_gpo", {"key": "anchor"}, "key is 'anchor'; it must be one of observation, state, text"),
        ("g2po", {"gamma": -0.1}, r"gamma is -0\.1"),
        ("g2po", {"invalid_penalty": -1.0}, r"invalid_penalty is -1\.0"),
        ("g2po", {"baseline": "token"}, "baseline is 'token'"),
    ],
)
def test_graph_methods_refuse_what_is_not_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        credit.make(name, **fields)
