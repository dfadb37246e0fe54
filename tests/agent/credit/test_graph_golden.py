"""GraphHCA and RTMC against plain Python on dictionaries, which shares no code with them."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given, strategies as st

from tests.agent.credit.test_graph_values import per_step, scored
from tests.helpers.builders import Attempt, few, random_attempts


def steps_of(attempts: Iterable[Attempt]) -> list[tuple[int, int, int, int]]:
    """Of every step: number of the episode, group, place, and the place it led to."""
    found = []
    for number, one in enumerate(attempts):
        places = [*(each.anchor for each in one.turns), one.last_anchor]
        found += [(number, one.group, *pair) for pair in pairwise(places)]
    return found


def plain_hca(attempts: list[Attempt], gamma: Fraction, floor: float, ends: str) -> list[float]:
    """The graph's part of GraphHCA, Phi solved exactly, in fractions."""
    steps = steps_of(attempts)
    final = [i + 1 == len(steps) or steps[i + 1][0] != step[0] for i, step in enumerate(steps)]
    won = [attempts[number].episode_return > 0 for number, *_ in steps]
    fixed: dict[tuple[int, int], Fraction] = {}
    leaving = defaultdict(list)
    for i, (_, group, before, after) in enumerate(steps):
        leaving[group, before].append(i)
        if ends == "shared" and final[i]:
            fixed[group, after] = max(Fraction(won[i]), fixed.get((group, after), Fraction(0)))
    names = [place for place in leaving if place not in fixed]
    rows = []
    for place in names:  # Phi(s) - gamma / n(s) sum of the Phi(s') unknown = gamma / n(s) sum of those known
        row = [Fraction(int(other == place)) for other in names] + [Fraction(0)]
        for i in leaving[place]:
            weight, led_to = gamma / len(leaving[place]), (steps[i][1], steps[i][3])
            if ends == "apart" and final[i]:
                row[-1] += weight * won[i]
            elif led_to in fixed:
                row[-1] += weight * fixed[led_to]
            else:
                row[names.index(led_to)] -= weight
        rows.append(row)
    phi = fixed | dict(zip(names, solved(rows), strict=True))
    result = [0.0] * len(steps)
    for chosen in leaving.values():
        values = [
            Fraction(won[i]) if ends == "apart" and final[i] else phi[steps[i][1], steps[i][3]]
            for i in chosen
        ]
        if len({max(value, Fraction(floor)) for value in values}) > 1:
            logs = scored([math.log(max(float(value), floor)) for value in values])
            for i, value in zip(chosen, logs, strict=True):
                result[i] = value
    return result


def solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """Solution of a linear system, its right side in the last column, by elimination."""
    for i in range(len(rows)):
        pivot = next(k for k in range(i, len(rows)) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(len(rows)):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]


def plain_rtmc(attempts: list[Attempt], gamma: float, prior_count: float | None) -> list[float]:
    """RTMC; Q alone if there is no count."""
    rewards = [each.reward for one in attempts for each in one.turns]
    steps = steps_of(attempts)
    returns: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    seen = set()
    for i, (number, group, before, after) in enumerate(steps):
        own = [rewards[k] for k in range(i, len(steps)) if steps[k][0] == number]
        if (number, before, after) not in seen:
            seen.add((number, before, after))
            returns[group, before, after].append(sum(gamma**k * reward for k, reward in enumerate(own)))
    result = []
    for _, group, before, after in steps:
        value = mean(returns[group, before, after])
        if prior_count is not None:
            prior = mean(one.episode_return for one in attempts if one.group == group)
            there = [
                x for (g, place, _), some in returns.items() if (g, place) == (group, before) for x in some
            ]
            value -= (sum(there) + prior_count * prior) / (len(there) + prior_count)
        result.append(value)
    return result


@pytest.mark.parametrize("ends", ["shared", "apart"])
@given(seed=st.integers(0, 10_000), gamma=st.sampled_from(["0.5", "0.95", "0.99"]))
@few
def test_graph_hca_agrees_with_plain_python(ends: str, seed: int, gamma: str) -> None:
    """On groups full of loops; the episodes' part is that of `grpo`."""
    attempts = random_attempts(seed, size=5, most_turns=6)
    base = per_step(attempts, "grpo", eps=1e-12)
    graph = plain_hca(attempts, Fraction(gamma), 0.01, ends)
    got = per_step(attempts, "graph_hca", gamma=float(gamma), eps=1e-12, ends=ends)
    assert got == pytest.approx([x + y for x, y in zip(base, graph, strict=True)], abs=1e-6)


@given(seed=st.integers(0, 10_000), gamma=st.sampled_from([0.5, 0.99, 1.0]), count=st.sampled_from([0, 2, 5]))
@few
def test_rtmc_agrees_with_plain_python(seed: int, gamma: float, count: int) -> None:
    """On groups full of loops, paid at any step."""
    attempts = random_attempts(seed, size=5, most_turns=6)
    got = per_step(attempts, "rtmc", gamma=gamma, prior_count=count)
    assert got == pytest.approx(plain_rtmc(attempts, gamma, count), abs=1e-12)


def test_plain_python_tells_a_wrong_setting() -> None:
    """Another discount, another floor, other ends, other counts: none passes for the right one."""
    attempts = random_attempts(0, size=5, most_turns=6)
    base = per_step(attempts, "grpo", eps=1e-12)
    got = per_step(attempts, "graph_hca", eps=1e-12, ends="apart")
    step = [x - y for x, y in zip(got, base, strict=True)]
    right: tuple[Fraction, float, str] = (Fraction("0.95"), 0.01, "apart")
    assert step == pytest.approx(plain_hca(attempts, *right), abs=1e-6)
    for wrong in [(Fraction("0.9"), *right[1:]), (right[0], 0.4, right[2]), (*right[:2], "shared")]:
        assert step != pytest.approx(plain_hca(attempts, *wrong), abs=1e-3)
    tree = per_step(attempts, "rtmc")
    assert tree == pytest.approx(plain_rtmc(attempts, 0.99, 2.0), abs=1e-12)
    assert tree != pytest.approx(plain_rtmc(attempts, 0.99, 1.0), abs=1e-3)
    assert tree != pytest.approx(plain_rtmc(attempts, 0.9, 2.0), abs=1e-3)


@given(seed=st.integers(0, 10_000))
@few
def test_rtmc_prior_count_moves_credit_one_way_between_two_limits(seed: int) -> None:
    """From Q - V, at 0, towards Q - mean R; a count between two others gives a credit between theirs."""
    attempts = random_attempts(seed, size=5, most_turns=6)
    rising = [per_step(attempts, "rtmc", prior_count=count) for count in (0.0, 1.0, 2.0, 4.0, 1e12)]
    for values in zip(*rising, strict=True):
        assert list(values) == pytest.approx(sorted(values, reverse=values[0] > values[-1]), abs=1e-12)
    assert rising[0] == pytest.approx(plain_rtmc(attempts, 0.99, 0.0), abs=1e-12)
    won = {group: mean(one.episode_return for one in attempts if one.group == group) for group in (0, 1)}
    groups = [one.group for one in attempts for _ in one.turns]
    most = [q - won[group] for q, group in zip(plain_rtmc(attempts, 0.99, None), groups, strict=True)]
    assert rising[-1] == pytest.approx(most, abs=1e-9)


@pytest.mark.parametrize("name", ["graph_hca", "rtmc"])
@given(seed=st.integers(0, 10_000))
@few
def test_the_names_of_places_do_not_matter(name: str, seed: int) -> None:
    """Keys are hashes: other numbers, in another order, give the same."""
    attempts = random_attempts(seed, size=4, most_turns=6)
    other = {key: (key * 7 + 3) % 5 - 2 for key in range(4)}
    renamed = [
        replace(
            one,
            turns=tuple(replace(each, anchor=other[each.anchor]) for each in one.turns),
            last_anchor=other[one.last_anchor],
        )
        for one in attempts
    ]
    assert per_step(renamed, name) == pytest.approx(per_step(attempts, name), rel=1e-9, abs=1e-9)
