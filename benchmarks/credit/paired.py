"""Trainings compared in pairs: the same seed gives every method the same tasks, update by update."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = Mapping[str, Mapping[str, Any]]
REPETITIONS = 2000
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % quantiles of Student's t, of 1 to 9 degrees of freedom; more are treated as 9."""


def differences(rows: Rows) -> dict[str, dict[str, dict[str, Any]]]:
    """Success in training of each method, by name, minus that of every other one, see `difference`."""
    return {
        name: {other: difference(rows[name], rows[other]) for other in rows if other != name} for name in rows
    }


def over_grpo(rows: Rows) -> dict[str, dict[str, Any]]:
    """The differences from GRPO alone; none where it was not trained."""
    if "grpo" not in rows:
        return {}
    return {name: difference(row, rows["grpo"]) for name, row in rows.items() if name != "grpo"}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Mean over the seeds that both have, those of the seeds, and two intervals (95 %).

    One is from a bootstrap over seeds and over the updates of each, and too narrow where few seeds differ
    much; the other is Student's, of the means of the seeds; None with a single seed.

    Args:
        one: its ``trained_on`` has the success of every update of every seed.
        other: the same of what is subtracted.
    """
    attempts, base = np.array(one["trained_on"]), np.array(other["trained_on"])
    common = min(len(base), len(attempts))
    rng, more = np.random.default_rng(0), attempts[:common] - base[:common]
    seeds, updates = more.shape
    drawn = [
        more[which[:, None], rng.integers(updates, size=more.shape)].mean()
        for which in rng.integers(seeds, size=(REPETITIONS, seeds))
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"ci95": [float(low), float(high)], **of_seeds(more.mean(axis=1))}


def of_seeds(by_seed: Array) -> dict[str, Any]:
    """Mean of the means of seeds, these, and Student's interval (95 %); None with a single seed."""
    value = float(by_seed.mean())
    found: dict[str, Any] = {"value": value, "by_seed": by_seed.tolist(), "student95": None}
    if len(by_seed) > 1:
        quantile = STUDENT[min(len(by_seed) - 1, len(STUDENT)) - 1]
        half = float(quantile * by_seed.std(ddof=1) / len(by_seed) ** 0.5)
        found["student95"] = [value - half, value + half]
    return found


def compared(rows: Rows, measure: str) -> dict[str, Any]:
    """Interquartile mean of a measure over seeds, and the probability to beat GRPO, with intervals."""
    from rliable import library, metrics

    scores = {name: np.array(one[measure])[:, None] for name, one in rows.items()}
    np.random.seed(0)  # rliable draws from the global generator: the same runs give the same intervals
    means, intervals = library.get_interval_estimates(
        scores, lambda found: np.array([metrics.aggregate_iqm(found)]), reps=2000
    )
    found = {
        name: {"iqm": float(means[name][0]), "ci95": [float(bound) for bound in intervals[name][:, 0]]}
        for name in scores
    }
    for name in [name for name in scores if name != "grpo" and "grpo" in scores]:
        pair = {"pair": (scores[name], scores["grpo"])}
        chance, bounds = library.get_interval_estimates(
            pair, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=2000
        )
        found[name]["better_than_grpo"] = float(chance["pair"][0])
        found[name]["better_ci95"] = [float(bound) for bound in bounds["pair"][:, 0]]
    return found
