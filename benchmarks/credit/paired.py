"""Trainings compared in pairs: the same seed gives every method the same tasks, update by update."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Rows = Mapping[str, Mapping[str, Any]]
REPETITIONS = 2000


def differences(rows: Rows) -> dict[str, dict[str, dict[str, Any]]]:
    """Success in training of each method, by name, minus that of every other one: value and interval.

    Seeds count that both have. The interval (95 %) is from a bootstrap over seeds and over the updates of
    each.
    """
    return {
        name: {other: difference(rows[name], rows[other]) for other in rows if other != name} for name in rows
    }


def over_grpo(rows: Rows) -> dict[str, dict[str, Any]]:
    """The differences from GRPO alone; none where it was not trained."""
    if "grpo" not in rows:
        return {}
    return {name: difference(row, rows["grpo"]) for name, row in rows.items() if name != "grpo"}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """That of one pair; ``trained_on`` of each has the success of every update of every seed."""
    attempts, base = np.array(one["trained_on"]), np.array(other["trained_on"])
    common = min(len(base), len(attempts))
    rng, more = np.random.default_rng(0), attempts[:common] - base[:common]
    seeds, updates = more.shape
    drawn = [
        more[which[:, None], rng.integers(updates, size=more.shape)].mean()
        for which in rng.integers(seeds, size=(REPETITIONS, seeds))
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"value": float(more.mean()), "ci95": [float(low), float(high)], "seeds": seeds}
