"""PathGain: values on the graph of a group, worked by hand and by an independent search."""

from collections import deque

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from tests.agent.credit.test_state_graph import attempt
from tests.helpers.builders import build, by_step, few, random_attempts


def per_step(batch: Batch, **settings: object) -> list[float]:
    """The steps' part alone: without the episodes' part, which needs returns that differ."""
    whole = credit.make("path_gain", **settings)(batch).advantages
    base = credit.make("path_gain", **{**settings, "step_weight": 0.0})(batch).advantages
    return [values[0] for values in by_step(batch, (whole - base).double())]


def test_a_small_group_by_hand() -> None:
    """A-B-C wins; A-A-B-D idles first and goes astray last. gamma 1/2, idle_cost 1.

    D: C 0, B 1, A 2, D none. V: C 1, B 1/2, A 1/4, D 0.
    Winner: A>B 1/4, B>C 1/2. Loser: A>A 0 - 1 (1 - 1/2) = -1/2, A>B 1/4, B>D -1/2.
    Mean 0, sample deviation sqrt((1/16 + 1/4 + 1/4 + 1/16 + 1/4) / 4) = sqrt(7/32).
    """
    batch = build([attempt("ABC", True), attempt("AABD", False)]).to(dtype=torch.float64)
    expected = [gain / (7 / 32) ** 0.5 for gain in (0.25, 0.5, -0.5, 0.25, -0.5)]
    assert per_step(batch, gamma=0.5, idle_cost=1.0, eps=0.0) == pytest.approx(expected)


def test_a_good_place_visited_by_failures_keeps_its_value() -> None:
    """Three failures and one success pass B: the step to B is credited in all of them, and alike."""
    group = [attempt("ABC", True), *[attempt("ABX", False)] * 3]
    batch = build(group).to(dtype=torch.float64)
    to_b = per_step(batch)[0::2]
    assert min(to_b) > 0 and to_b == pytest.approx([to_b[0]] * 4)


def test_a_small_group_by_hand_in_commands() -> None:
    """A-B-C-D wins; A-A-C-X idles, goes from A to C at once, and astray. D: C 1, B 2, A 2, X none.

    Winner 0, 1, 1; loser 0, 1, and as far as its beginning and one more, -(2 + 1). Mean 0, squares 12.
    """
    batch = build([attempt("ABCD", True), attempt("AACX", False)]).to(dtype=torch.float64)
    expected = [one / (12 / 5) ** 0.5 for one in (0, 1, 1, 0, 1, -3)]
    assert per_step(batch, measure="commands", eps=0.0) == pytest.approx(expected)
    alone = credit.make("path_gain", measure="commands", episode_weight=0.0, eps=0.0)(batch).advantages
    assert [values[0] for values in by_step(batch, alone)] == pytest.approx(expected)


def test_a_node_without_a_path_has_no_value_whatever_the_discount() -> None:
    """A-B-C wins, A-B-X does not: at gamma 1 all nodes but X are worth 1, at 0 the goal alone is.

    One of four gains differs, by 1, so the mean is off by a quarter and the deviation is 1/2.
    """
    batch = build([attempt("ABC", True), attempt("ABX", False)]).to(dtype=torch.float64)
    settings = {"idle_cost": 0.0, "eps": 0.0}
    assert per_step(batch, gamma=1.0, **settings) == pytest.approx([0.5, 0.5, 0.5, -1.5])
    assert per_step(batch, gamma=0.0, **settings) == pytest.approx([-0.5, 1.5, -0.5, -0.5])


def test_without_a_success_nothing_is_told_apart() -> None:
    """The group has no way to a goal: changing the world is then no merit of its own."""
    batch = build([attempt("AAB", False), attempt("ABC", False)]).to(dtype=torch.float64)
    assert per_step(batch) == pytest.approx([0.0] * 4)


def test_the_way_of_other_tasks_by_hand() -> None:
    """Nobody won: A-B-B-A, lifted distances 2, 1, none, 1, of which B to B is idle. gamma 1/2, idle_cost 1.

    V: 1/4, 1/2, 0, 1/2. A>B 1/4; B>B -1/2 - 1 (1 - 1/2) = -1; B>A 0 before and 1/2 after. Mean -1/12, squares
    of the differences 1/9 + 121/144 + 49/144 = 93/72, so the sample deviation is sqrt(93/144).
    """
    batch = build([attempt("ABBA", False)]).to(dtype=torch.float64)
    far = torch.tensor([2, 1, -1, 1])
    batch = batch.with_columns(lifted_distance=far[:-1], next_lifted_distance=far[1:])
    expected = [(gain + 1 / 12) / (93 / 144) ** 0.5 for gain in (0.25, -1.0, 0.5)]
    settings = {"lifted": True, "ways": False, "gamma": 0.5, "idle_cost": 1.0, "eps": 0.0}
    assert per_step(batch, **settings) == pytest.approx(expected)


def test_both_graphs_are_added() -> None:
    """A-B-C wins, and lifted distances agree: the sum has twice the gains, and so the same credit."""
    batch = build([attempt("ABC", True), attempt("ABA", False)]).to(dtype=torch.float64)
    batch = batch.with_columns(
        lifted_distance=torch.tensor([2, 1, 2, 1]), next_lifted_distance=torch.tensor([1, 0, 1, 2])
    )
    assert per_step(batch, lifted=True, eps=0.0) == pytest.approx(per_step(batch, eps=0.0))
    nowhere = torch.full((4,), -1)
    silent = batch.with_columns(lifted_distance=nowhere, next_lifted_distance=nowhere)
    assert per_step(silent, lifted=True) == pytest.approx(per_step(batch))


def test_a_step_backwards_is_worse_than_an_idle_one() -> None:
    """The way is A-B-C-D; the loser idles at B and goes back to A. At the cost of a whole step it is not."""
    batch = build([attempt("ABCD", True), attempt("ABBA", False)]).to(dtype=torch.float64)
    *_, idle, back = per_step(batch)
    assert back < idle < 0
    *_, idle, back = per_step(batch, idle_cost=1.0)
    assert idle < back < 0


def searched(batch: Batch, gamma: float, idle_cost: float) -> list[float]:
    """The gains of all steps by a search of its own, in plain Python."""
    steps, episodes = batch.steps, batch.episodes
    episode_of = steps.episode_of_step.tolist()
    assert steps.next_text_key is not None and steps.text_key is not None
    before, after = steps.text_key.tolist(), steps.next_text_key.tolist()
    gains = [0.0] * len(before)
    for group in set(episodes.group_of_episode.tolist()):
        own = [s for s, e in enumerate(episode_of) if episodes.group_of_episode[e] == group]
        last = {episode_of[s]: s for s in own}
        distance = {after[s]: 0 for e, s in last.items() if episodes.success[e]}
        waiting = deque(distance)
        while waiting:
            node = waiting.popleft()
            for s in own:
                if after[s] == node and before[s] not in distance:
                    distance[before[s]] = distance[node] + 1
                    waiting.append(before[s])
        value = {node: gamma**far for node, far in distance.items()}
        for s in own:
            gains[s] = value.get(after[s], 0.0) - value.get(before[s], 0.0)
            gains[s] -= idle_cost * (1 - gamma) * (before[s] == after[s] and before[s] in value)
    return gains


@given(seed=st.integers(0, 10_000))
@few
def test_gains_are_those_of_an_independent_search(seed: int) -> None:
    """Standardised over the steps of the group, here by numpy's formula."""
    batch = build(random_attempts(seed, groups=3, size=4)).to(dtype=torch.float64)
    gains = torch.tensor(searched(batch, 0.9, 0.3), dtype=torch.float64)
    found = per_step(batch, gamma=0.9, idle_cost=0.3)
    for group in range(3):
        own = (batch.group_of_step == group).nonzero().flatten()
        chosen = gains[own]
        expected = (chosen - chosen.mean()) / (chosen.std() + 1e-6) if len(own) > 1 else chosen * 0
        assert [found[s] for s in own.tolist()] == pytest.approx(expected.tolist(), abs=1e-6)


def test_settings_out_of_range_are_refused() -> None:
    """By name."""
    for settings, name in (
        ({"gamma": 1.5}, "gamma"),
        ({"key": "pixels"}, "key"),
        ({"idle_cost": -1}, "idle"),
    ):
        with pytest.raises(ValueError, match=name):
            credit.make("path_gain", **settings)
