"""GraphGPO and G2PO against a second computation: dictionaries and Floyd-Warshall instead of tensors."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stepopsd_agent import credit
from tests.agent.credit.test_graphs import per_step
from tests.helpers.builders import Attempt, few, random_attempts

SEEDS = st.integers(0, 10_000)


def standard(values: dict[Any, float], group: Callable[[Any], Any], std: bool) -> dict[Any, float]:
    """Every value minus the mean of its group, over the sample deviation."""
    members = defaultdict(list)
    for name, value in values.items():
        members[group(name)].append(value)
    result = {}
    for name, value in values.items():
        others = members[group(name)]
        spread = statistics.stdev(others) if std and len(others) > 1 else 0.0
        result[name] = (value - statistics.fmean(others)) / (spread + 1e-7 if std else 1.0)
    return result


def edges_of(attempts: list[Attempt]) -> dict[tuple[int, int], tuple[Any, Any]]:
    """The place before and after every step, by (episode, number); a won episode ends in (group, "won")."""
    edges = {}
    for episode, one in enumerate(attempts):
        places: list[Any] = [(one.group, t.anchor) for t in one.turns]
        end = (one.group, "won" if one.episode_return > 0 else one.last_anchor)
        for number, (before, after) in enumerate(zip(places, [*places[1:], end], strict=True)):
            edges[episode, number] = before, after
    return edges


def episode_part(attempts: list[Attempt], fields: dict[str, Any]) -> list[float]:
    """GRPO by its definition."""
    repeats = [len(one.turns) if fields["baseline"] == "step" else 1 for one in attempts]
    returns = {
        (episode, n): one.episode_return
        for episode, one in enumerate(attempts)
        for n in range(repeats[episode])
    }
    result = standard(returns, lambda name: attempts[name[0]].group, fields["std"])
    return [result[episode, 0] for episode in range(len(attempts))]


def graph_gpo_again(attempts: list[Attempt], fields: dict[str, Any]) -> list[float]:
    """All shortest ways by Floyd and Warshall."""
    edges = edges_of(attempts)
    places = {place for edge in edges.values() for place in edge}
    way = {(a, b): 0.0 if a == b else math.inf for a in places for b in places}
    way |= {(a, b): 1.0 for a, b in edges.values() if a != b}
    for via in places:
        for a in places:
            for b in places:
                way[a, b] = min(way[a, b], way[a, via] + way[via, b])
    far = {place: way.get((place, (place[0], "won")), math.inf) for place in places}
    for group in {place[0] for place in places}:
        known = [d for place, d in far.items() if place[0] == group and d < math.inf]
        far |= {p: max(known, default=0.0) + 1 for p in places if p[0] == group and far[p] == math.inf}
    powers: dict[str, Callable[[float, float], float]] = {
        "next": lambda a, b: b,
        "cost_and_next": lambda a, b: b + 1,
        "progress": lambda a, b: b - a + 1,
    }
    power = powers[fields["exponent"]]
    quality = {name: fields["omega"] ** power(far[a], far[b]) for name, (a, b) in edges.items()}
    graph = standard(quality, lambda name: edges[name][0], fields["std"])
    base = episode_part(attempts, fields)
    return [fields["episode_weight"] * base[name[0]] + fields["graph_weight"] * graph[name] for name in edges]


def g2po_again(attempts: list[Attempt], fields: dict[str, Any]) -> list[float]:
    """Visits in lists."""
    edges, visits = edges_of(attempts), defaultdict(list)
    for (episode, number), (before, _) in edges.items():
        one = attempts[episode]
        left = len(one.turns) - number
        visits[before].append(fields["gamma"] ** left * (one.episode_return > 0))
    value = {place: statistics.fmean(seen) for place, seen in visits.items()}
    led_to = {}
    for (episode, number), (_, after) in edges.items():
        last = number == len(attempts[episode].turns) - 1
        led_to[episode, number] = float(after[1] == "won") if last else value[after]
    node = standard(led_to, lambda name: edges[name][0], fields["std"])
    gain = {name: led_to[name] - value[edges[name][0]] for name in edges}
    edge = standard(gain, lambda name: attempts[name[0]].group, fields["std"])
    base = episode_part(attempts, fields)
    return [
        base[name[0]] + fields["node_weight"] * node[name] + fields["edge_weight"] * edge[name]
        for name in edges
    ]


AGAIN = {"graph_gpo": graph_gpo_again, "g2po": g2po_again}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    *(("graph_gpo", change) for change in ({"omega": 0.4}, {"exponent": "cost_and_next", "std": False})),
    *(("graph_gpo", change) for change in ({"baseline": "episode"}, {"graph_weight": 2.0})),
    ("graph_gpo", {"exponent": "progress", "std": False, "omega": 0.7, "episode_weight": 0.5}),
    *(("g2po", change) for change in ({"gamma": 0.5}, {"baseline": "episode"}, {"node_weight": 0.3})),
    *(("g2po", change) for change in ({"std": False}, {"edge_weight": 2.0})),
]
"""Settings other than the defaults."""


def crowd(seed: int) -> list[Attempt]:
    """Random attempts in three groups, with loops, ends at places of others, groups won by none or all."""
    return random_attempts(seed, groups=3, size=4, most_turns=7)


@pytest.mark.parametrize(("name", "change"), [("graph_gpo", {}), ("g2po", {}), *CHANGES])
@given(seed=SEEDS)
@few
def test_credit_agrees_with_a_second_computation(name: str, change: dict[str, Any], seed: int) -> None:
    """From the definitions, without tensors."""
    expected = AGAIN[name](crowd(seed), vars(credit.make(name, **change)))
    assert per_step(crowd(seed), name, **change) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_the_second_computation_tells_settings_apart(name: str, change: dict[str, Any]) -> None:
    """Were a setting ignored, the test above would fail."""
    default = AGAIN[name](crowd(0), vars(credit.make(name)))
    assert per_step(crowd(0), name, **change) != pytest.approx(default, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", AGAIN)
@given(seed=SEEDS)
@few
def test_credit_is_blind_to_the_names_of_places(name: str, seed: int) -> None:
    """Any other numbers, as different as those."""
    other = {-1: 17, 0: -(2**62), 1: 2**62, 2: -3, 3: 0}
    renamed = [
        replace(
            one,
            turns=tuple(replace(t, anchor=other[t.anchor]) for t in one.turns),
            last_anchor=other[one.last_anchor],
        )
        for one in crowd(seed)
    ]
    assert per_step(renamed, name) == pytest.approx(per_step(crowd(seed), name), rel=1e-9, abs=1e-9)
