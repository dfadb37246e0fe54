"""The measures of the credit benchmark: what they must say of credit that is known to be right or empty."""

import numpy as np
import pytest

from stepopsd_agent.accuracy import (
    Array,
    Judged,
    Values,
    attainable,
    auc,
    ceiling,
    correlation,
    differences,
    figures,
    progress,
    ranked_pairs,
    share,
)
from stepopsd_wrappers import Episode, Step


def random_truth(seed: int, episodes: int = 400) -> Judged:
    """Steps that bring the goal nearer, leave it or push it away, in groups of eight."""
    rng = np.random.default_rng(seed)
    steps = [rng.choice([-1.0, 0.0, 1.0], size=rng.integers(4, 20)) for _ in range(episodes)]
    values = [
        Values(n // 8, n % 8, tuple((float(v),) * 4 for v in -np.cumsum(own) / 9), tuple([0.0] * len(own)))
        for n, own in enumerate(steps)
    ]
    won = [bool(rng.integers(2)) for _ in range(episodes)]
    return Judged([n // 8 for n in range(episodes)], steps, won, [True] * episodes, list(values))


def test_pairs_are_counted_as_by_hand() -> None:
    """Credit 3, 1, 1, 0 with the first and third positive: 3 beats both others, 1 ties and beats."""
    credit, positive = np.array([3.0, 1.0, 1.0, 0.0]), np.array([True, False, True, False])
    # (3>1) + (3>0) + (1=1)/2 + (1>0) = 3.5 of 4
    assert ranked_pairs(credit, positive) == (3.5, 4)


def test_a_rounding_error_is_a_tie() -> None:
    """One part in ten million ranks nothing."""
    credit = np.array([1.0, 1.0 + 1e-7, -1.0])
    assert ranked_pairs(credit, np.array([True, False, False])) == (1.5, 2)


def test_the_same_credit_everywhere_is_exactly_chance() -> None:
    """Whatever the amount, and it explains nothing."""
    truth = random_truth(0)
    for amount in (0.0, -0.7, 3.0):
        found = figures([np.full(len(steps), amount) for steps in truth.progress], truth)
        assert found["auc_failed"].value == found["auc_won"].value == 0.5
        assert found["r"].value == pytest.approx(0.0, abs=1e-12)
        assert (found["auc_failed"].low, found["auc_failed"].high) == (0.5, 0.5)
        assert found["size"].value == pytest.approx(abs(amount))


def test_the_truth_is_ranked_perfectly_and_never_has_the_wrong_sign() -> None:
    """AUC 1, no forward step pushed down, no harmful one pushed up."""
    truth = random_truth(1)
    found = figures(truth.progress, truth)
    assert found["auc_failed"].value == found["auc_won"].value == 1.0
    assert found["auc_harmful"].value == 1.0
    assert found["pushed_down"].value == found["pushed_up"].value == 0.0


def test_credit_that_ranks_forward_steps_well_may_praise_harmful_ones() -> None:
    """Forward above all others, and the harmful above the wasted: AUC of forward steps cannot see it."""
    truth = random_truth(3)
    praised = [np.where(steps > 0, 1.0, np.where(steps < 0, 0.0, -1.0)) for steps in truth.progress]
    found = figures(praised, truth)
    assert found["auc_failed"].value == found["auc_won"].value == 1.0
    assert found["auc_harmful"].value == pytest.approx(0.5, abs=0.05)  # forward ones alone are above


def test_a_lost_episode_counts_though_none_of_its_group_was_won() -> None:
    """Credit that knows the way in one group alone is right for half of the lost episodes: (1 + .5) / 2."""
    steps, nothing = np.array([1.0, 0.0]), np.zeros(2)
    truth = Judged([0, 0, 1], [steps] * 3, [False, True, False], [True, True, False], [None] * 3)
    found = figures([steps, steps, nothing], truth)
    assert found["auc_failed"].value == 1.0 and found["auc_failed"].n == 1
    assert found["auc_all_failed"].value == 0.75 and found["auc_all_failed"].n == 2


def test_a_share_of_nothing_is_no_figure() -> None:
    """Where no step is harmful, none can be pushed up."""
    assert share([0, 0], [0, 0], [0, 1]).measure().n == 0


def test_the_truth_in_a_random_order_is_chance_within_its_interval() -> None:
    """A control that would show pairs counted between episodes, or an interval that is too narrow."""
    truth, rng = random_truth(2), np.random.default_rng(5)
    inside = []
    for _ in range(20):
        found = figures([rng.permutation(steps) for steps in truth.progress], truth)
        inside += [found[name].low <= 0.5 <= found[name].high for name in ("auc_failed", "auc_won")]
    assert np.mean(inside) > 0.8  # 0.95 is expected of the 40


def test_the_scale_of_an_episode_does_not_matter_to_its_ranks() -> None:
    """AUC compares inside an episode."""
    truth, rng = random_truth(3), np.random.default_rng(1)
    noisy = [steps + rng.normal(size=len(steps)) for steps in truth.progress]
    scaled = [credit * rng.uniform(0.1, 10) + rng.normal() for credit in noisy]
    one, other = figures(noisy, truth), figures(scaled, truth)
    assert one["auc_failed"].value == pytest.approx(other["auc_failed"].value)


def test_the_correlation_is_within_episodes() -> None:
    """Two episodes, each perfectly ordered, with levels that would hide it."""
    credits = [np.array([10.0, 11.0]), np.array([-5.0, -4.0])]
    truths = [np.array([0.0, 1.0]), np.array([7.0, 8.0])]
    assert correlation(credits, truths, [0, 1]).measure().value == pytest.approx(1.0)
    assert correlation([-c for c in credits], truths, [0, 1]).measure().value == pytest.approx(-1.0)


def test_intervals_come_from_tasks_and_not_from_episodes() -> None:
    """A hundred copies of the same task are worth one task."""
    right: Array = np.array([1.0, 0.0])
    wrong: Array = np.array([0.0, 1.0])
    positive = np.array([True, False])
    many = auc([right] * 100 + [wrong] * 100, [positive] * 200, [0] * 100 + [1] * 100).measure()
    assert (many.low, many.high) == (0.0, 1.0)
    apart = auc([right] * 100 + [wrong] * 100, [positive] * 200, list(range(200))).measure()
    assert 0.4 < apart.low < 0.5 < apart.high < 0.6


def test_differences_are_of_pairs() -> None:
    """None of a credit from itself, on whichever tasks; from another what two figures make, and surer."""
    truth, rng = random_truth(5), np.random.default_rng(2)
    noisy = [steps + 3 * rng.normal(size=len(steps)) for steps in truth.progress]
    itself = differences(noisy, noisy, truth)
    assert {(one.value, one.low, one.high) for one in itself.values()} == {(0.0, 0.0, 0.0)}
    less = [credit + 0.3 * rng.normal(size=len(credit)) for credit in noisy]
    found, one, other = differences(noisy, less, truth), figures(noisy, truth), figures(less, truth)
    for name in ("auc_failed", "auc_harmful", "r", "pushed_down", "decisive"):
        assert found[name].value == pytest.approx(one[name].value - other[name].value, abs=1e-12)
        assert found[name].n == one[name].n
        assert found[name].low < found[name].value < found[name].high
    # The two differ little, and by the same tasks: far less than either by itself.
    assert found["r"].high - found["r"].low < 0.5 * (one["r"].high - one["r"].low)


def test_a_difference_needs_the_same_episodes() -> None:
    """Other tasks cannot be drawn together."""
    with pytest.raises(ValueError, match="same episodes"):
        share([1, 2], [3, 3], [0, 1]).minus(share([1, 2], [3, 3], [0, 2]))


def test_shares_are_of_all_steps() -> None:
    """3 of 4 and 0 of 4."""
    assert share([3, 0], [4, 4], [0, 1]).measure().value == pytest.approx(3 / 8)


def test_the_ceiling_is_one_without_noise_and_none_without_signal() -> None:
    """Halves of the attempts agree fully, or by chance alone."""
    truth = random_truth(4)
    assert ceiling(truth.values).value == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    noise = [
        Values(n, 0, tuple(tuple(rng.normal(size=8).tolist()) for _ in range(9)), (0.0,) * 9)
        for n in range(200)
    ]
    assert abs(ceiling(noise).value) < 0.1


def test_exact_advantages_correlate_by_more_than_the_halves_of_the_attempts() -> None:
    """By as much as `attainable` says: the halves are both noisy, their mean is less so.

    Values of variance 1 and noise of variance 8 an attempt, 8 attempts: by halves 1 / (1 + 2) = .33, and the
    exact values with the mean of all 1 / sqrt(1 + 1) = .71.
    """
    rng = np.random.default_rng(0)
    exact = [np.append(rng.normal(size=9), 0.0) for _ in range(600)]
    values = [
        Values(
            n, 0, tuple(map(tuple, (one[:9, None] + rng.normal(size=(9, 8)) * 8**0.5).tolist())), (0.0,) * 9
        )
        for n, one in enumerate(exact)
    ]
    halves = ceiling(values).value
    found = correlation(
        [np.diff(one) for one in exact], [one.advantages() for one in values], range(600)
    ).measure()
    assert halves == pytest.approx(1 / 3, abs=0.05)
    assert found.value == pytest.approx(attainable(halves), abs=0.03) and found.value > halves + 0.3
    assert (attainable(1.0), attainable(0.0), attainable(-0.2)) == (1.0, 0.0, 0.0)


def test_advantages_are_reward_and_value_after_less_value_before() -> None:
    """V = .25, .5 and a win at the end: .25 and .5."""
    values = Values(0, 0, ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 1.0, 0.0)), (0.0, 1.0))
    assert values.advantages().tolist() == [0.25, 0.5]


def recorded(distances: list[int]) -> Episode:
    """A record that tells these distances."""
    steps = [Step("", "", "", 0.0, False, False, {"optimal_distance": value}) for value in distances]
    return Episode("", 0, 0, 0, "task", 0, {}, "", tuple(steps))


def test_progress_counts_commands_and_a_lost_game_as_the_whole_way() -> None:
    """4 to 3, wasted, away by one, then unreachable; nothing counts behind that. -1 is not told."""
    assert progress(recorded([4, 3, 3, 4, -2, -2])) == [1.0, 0.0, -1.0, -5.0, 0.0]
    assert progress(recorded([-1, -1])) is None


def asked(*steps: tuple[str, float]) -> Episode:
    """A record of a question: the kind of each step, and the share of the gold passages seen after it."""
    told = [Step("", "", "", 0.0, False, False, {"step": {"kind": k}, "gold_seen": g}) for k, g in steps]
    return Episode("", 0, 0, 0, "task", 0, {}, "", tuple(told))


def test_progress_at_a_question_is_new_gold_and_the_right_moment_to_stop() -> None:
    """The second gold passage, nothing new, an invalid step, the first, one search too many, the answer."""
    kinds = ["reset", "search", "search", "invalid", "search", "search", "answer"]
    seen = [0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    assert progress(asked(*zip(kinds, seen, strict=True))) == [0.5, 0.0, 0.0, 0.5, 0.0, 1.0]


def test_an_answer_before_all_gold_was_seen_is_premature() -> None:
    """With a half, with nothing; with gold in the opening text it is right at once; unknown gold is None."""
    assert progress(asked(("reset", 0.0), ("search", 0.5), ("answer", 0.5))) == [0.5, -1.0]
    assert progress(asked(("reset", 0.0), ("answer", 0.0))) == [-1.0]
    assert progress(asked(("reset", 1.0), ("answer", 1.0))) == [1.0]
    assert progress(asked(("reset", -1.0), ("answer", -1.0))) is None
