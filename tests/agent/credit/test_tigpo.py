"""TIGPO by hand and by an independent search: a graph and returns that earlier updates left behind."""

import math
from collections import deque
from dataclasses import fields, replace
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, Past
from stepopsd_agent.credit import MissingColumnError
from tests.agent.credit.test_state_graph import attempt
from tests.helpers.builders import build, by_step, few, past, random_batch

PLAIN: dict[str, Any] = {"std": False, "baseline": "episode", "gamma": 0.5}


def per_step(batch: Batch, name: str = "tigpo", **settings: Any) -> list[float]:
    """The credit of every step, computed in double precision."""
    batch = batch.to(dtype=torch.float64)
    return [values[0] for values in by_step(batch, credit.make(name, **settings)(batch).advantages)]


def edges(*walks: str, won: bool, group: int = 0) -> list[tuple[int, int, int, bool]]:
    """The edges of walks through places named by letters, the last one of each won or not."""
    found = []
    for walk in walks:
        steps = list(pairwise(walk))
        for place, (before, after) in enumerate(steps, start=1):
            found.append((group, ord(before), ord(after), won and place == len(steps)))
    return list(dict.fromkeys(found))


def test_a_small_group_by_hand() -> None:
    """Now A>B B>D and A>C C>D, both lost; an earlier update won by B>E E>! with return 1, in two steps.

    Fewest steps to success: E 1, B 2, A 3; C and D, of no return, 3 + 1. q = 2^-d: A>B 1/4, A>C 1/16, their
    mean 5/32, so +-3/32; B and C were left once now, so 0, though B was left before, too. Returns 0 and 0
    with the earlier 1 have mean 1/3.
    """
    batch = build([attempt("ABD", False), attempt("ACD", False)])
    batch = replace(batch, past=past(*edges("BEF", won=True), returns=[(0, 1.0, 2)]))
    graph = [3 / 32, 0, -3 / 32, 0]
    assert per_step(batch, **PLAIN) == pytest.approx([value - 1 / 3 for value in graph])
    assert per_step(batch, earlier_returns=False, **PLAIN) == pytest.approx(graph)
    assert per_step(batch, history=False, **PLAIN) == pytest.approx([-1 / 3] * 4)
    weighted = per_step(batch, episode_weight=3.0, graph_weight=2.0, **PLAIN)
    assert weighted == pytest.approx([2 * value - 1 for value in graph])


def test_deviations_and_steps_are_those_of_both_updates() -> None:
    """One step with return 1 now, then one of 0 in three steps: by steps 1 0 0 0, mean 1/4, variance 1/4.

    By episodes 1 and 0: mean 1/2, variance 1/2. The graph has nothing to compare.
    """
    batch = replace(build([attempt("AB", True)]), past=past(returns=[(0, 0.0, 3)]))
    assert per_step(batch) == pytest.approx([(1 - 1 / 4) / math.sqrt(1 / 4)], abs=1e-5)
    assert per_step(batch, baseline="episode") == pytest.approx([1 / 2 / math.sqrt(1 / 2)], abs=1e-5)
    assert per_step(batch, std=False) == pytest.approx([3 / 4])


def test_a_shorter_way_of_before_changes_what_a_step_is_worth() -> None:
    """A>B>C>! and A>D>! now: D is nearer. Then a step B>! was walked: equally near, and so no credit."""
    group = [attempt("ABCZ", True), attempt("ADZ", True)]
    assert per_step(build(group), **PLAIN) == pytest.approx([-1 / 8, 0, 0, 1 / 8, 0])
    shorter = replace(build(group), past=past(*edges("BZ", won=True)))
    assert per_step(shorter, **PLAIN) == pytest.approx([0] * 5)


def test_the_past_of_one_group_is_not_that_of_another() -> None:
    """The same attempts twice; only the second group has seen the goal."""
    lost = [attempt(way, False, group) for group in (0, 1) for way in ("AB", "AC")]
    batch = replace(build(lost), past=past(*edges("BD", won=True, group=1)))
    # d(B) 1, d(A) 2, C 3: q 1/2 and 1/8, mean 5/16.
    assert per_step(batch, **PLAIN) == pytest.approx([0, 0, 3 / 16, -3 / 16])


def test_an_end_that_was_lost_before_is_no_goal() -> None:
    """A lost way joins the graph and leads to no success: nothing is told apart."""
    batch = replace(build([attempt("AB", False), attempt("AC", False)]), past=past(*edges("BD", won=False)))
    assert per_step(batch) == [0, 0]


@given(seed=st.integers(0, 10_000), baseline=st.sampled_from(["episode", "step"]), std=st.booleans())
@few
def test_without_a_past_it_is_graph_gpo(seed: int, baseline: str, std: bool) -> None:
    """To the bit, with the same constants; likewise where neither part looks back."""
    batch = random_batch(seed)
    same: dict[str, Any] = {"baseline": baseline, "std": std}
    expected = credit.make("graph_gpo", omega=0.3, exponent="next", **same)(batch).advantages
    empty = replace(batch, past=past())
    assert torch.equal(credit.make("tigpo", gamma=0.3, **same)(empty).advantages, expected)
    blind = credit.make("tigpo", gamma=0.3, history=False, earlier_returns=False, **same)
    assert blind.needs == credit.make("graph_gpo").needs
    assert torch.equal(blind(replace(batch, past=None)).advantages, expected)


def searched(batch: Batch, gamma: float, history: bool) -> list[float]:
    """gamma^d(s') of every step by a search of its own, in plain Python."""
    steps, episodes, earlier = batch.steps, batch.episodes, batch.past
    assert steps.next_anchor is not None and earlier is not None
    assert earlier.anchor is not None and earlier.next_anchor is not None
    owner, groups = steps.episode_of_step.tolist(), batch.group_of_step.tolist()
    before, after = steps.anchor.tolist(), steps.next_anchor.tolist()
    quality = [0.0] * len(before)
    for group in set(groups):
        own = [s for s, g in enumerate(groups) if g == group]
        ends = {max(s for s in own if owner[s] == owner[t]) for t in own}
        reached = {s: "!" if s in ends and episodes.success[owner[s]] else after[s] for s in own}
        roads = {(before[s], reached[s]) for s in own}
        rows = zip(
            earlier.group_of_step.tolist(),
            earlier.anchor.tolist(),
            earlier.next_anchor.tolist(),
            earlier.won.tolist(),
            strict=True,
        )
        roads |= {(a, "!" if won else b) for g, a, b, won in rows if history and g == group}
        far: dict[Any, int] = {"!": 0} if any(b == "!" for _, b in roads) else {}
        waiting = deque(far)
        while waiting:
            node = waiting.popleft()
            for a, b in sorted(roads, key=str):
                if b == node and a not in far:
                    far[a] = far[node] + 1
                    waiting.append(a)
        worst = max(far.values(), default=0) + 1
        for s in own:
            quality[s] = gamma ** far.get(reached[s], worst)
    return quality


@given(seed=st.integers(0, 10_000), history=st.booleans())
@few
def test_the_graphs_part_is_that_of_an_independent_search(seed: int, history: bool) -> None:
    """Standardised over the steps of now that leave one place, here in plain Python."""
    batch = random_batch(seed, groups=3, size=4).to(dtype=torch.float64)
    quality = searched(batch, 0.4, history)
    found = per_step(batch, gamma=0.4, history=history, episode_weight=0.0)
    places = list(zip(batch.group_of_step.tolist(), batch.steps.anchor.tolist(), strict=True))
    for step, place in enumerate(places):
        chosen = [q for q, other in zip(quality, places, strict=True) if other == place]
        deviation = stdev(chosen) if len(chosen) > 1 else 0.0
        expected = (quality[step] - fmean(chosen)) / (deviation + 1e-7)
        assert found[step] == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 10_000))
@few
def test_the_episodes_part_is_grpo_of_both_updates(seed: int) -> None:
    """As GRPO computes it where the earlier episodes are there with all their steps."""
    batch = random_batch(seed, groups=1)
    earlier = batch.past
    assert earlier is not None
    rows = zip(earlier.episode_return.tolist(), earlier.num_steps.tolist(), strict=True)
    added = [attempt("A" * (n + 1), bool(r)) for r, n in rows]
    now = [attempt("A" * (n + 1), bool(r)) for r, n in counted(batch)]
    both = per_step(build([*now, *added]), "grpo", baseline="step", eps=1e-7)
    found = per_step(batch, graph_weight=0.0)
    assert found == pytest.approx(both[: len(found)], abs=1e-9)


def counted(batch: Batch) -> list[tuple[float, int]]:
    """Return and steps of every episode."""
    sizes = torch.bincount(batch.steps.episode_of_step).tolist()
    return list(zip(batch.episodes.episode_return.tolist(), sizes, strict=True))


def test_a_past_has_no_tokens() -> None:
    """Nothing that a loss could be computed of: no ids, no log-probabilities, no rows."""
    keys = {f"{way}{key}" for key in ("anchor", "state", "text_key") for way in ("", "next_")}
    rest = {"group_of_step", "won", "group_of_episode", "episode_return", "num_steps"}
    assert {spec.name for spec in fields(Past)} == keys | rest


def test_metrics_tell_how_many_groups_were_played_before() -> None:
    """One of two."""
    batch = build([attempt("AB", True), attempt("AB", True, group=1)])
    batch = replace(batch, past=past(*edges("AB", won=True, group=1)))
    assert credit.make("tigpo")(batch).metrics["groups_played_before"] == 0.5


@pytest.mark.parametrize("name", ["tigpo", "path_gain"])
def test_a_past_of_other_keys_is_named(name: str) -> None:
    """The history was made for another key than the method reads."""
    batch = replace(build([attempt("AB", True)]), past=past(*edges("AB", won=True), keys=2))
    with pytest.raises(MissingColumnError, match=r"past\.text_key"):
        credit.make(name, key="text", history=True)(batch)


def test_path_gain_goes_the_ways_of_before_to_the_goals_of_before() -> None:
    """Lost attempts A>B and A>C; an earlier one won by B>D. gamma 1/2: V(B) 1/2, V(A) 1/4, V(C) 0.

    Gains 1/4 and -1/4: mean 0, sample deviation sqrt(1/8). Without the past nothing is told apart.
    """
    batch = build([attempt("AB", False), attempt("AC", False)])
    batch = replace(batch, past=past(*edges("BD", won=True)))
    expected = [1 / 4 / math.sqrt(1 / 8), -1 / 4 / math.sqrt(1 / 8)]
    assert per_step(batch, "path_gain", gamma=0.5, history=True) == pytest.approx(expected, abs=1e-5)
    assert per_step(batch, "path_gain", gamma=0.5) == [0, 0]
    assert credit.make("path_gain").needs == credit.make("path_gain", history=True).needs - {"past"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"won": torch.zeros(2, dtype=torch.int64)}, "past.won is torch.int64 of shape"),
        ({"anchor": torch.zeros(3, dtype=torch.int64)}, "past.anchor is .* it must be int64 of shape"),
        ({"episode_return": torch.zeros(1, dtype=torch.int64)}, "past.episode_return is .* must be floating"),
    ],
)
def test_a_past_whose_columns_do_not_fit_is_refused(wrong: dict[str, Any], message: str) -> None:
    """By the column's name."""
    whole = past(*edges("ABC", won=True), returns=[(0, 1.0, 2)])
    with pytest.raises(ValueError, match=message):
        replace(whole, **wrong)


def test_settings_out_of_range_are_refused() -> None:
    """When the method is made."""
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        credit.make("tigpo", gamma=1.5)
