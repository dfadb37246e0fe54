"""All measures of one method: its credit of recorded steps compared with the ground truth."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from stepopsd_agent.accuracy.measures import Array, Measure, Sums, auc, correlation, mean, share
from stepopsd_agent.accuracy.truth import Judged, Values
from stepopsd_agent.batch import Batch


def figures(credits: Sequence[Array], truth: Judged) -> dict[str, Measure]:
    """All measures of one method, by name; "size" is the mean absolute credit of a step.

    Args:
        credits: per episode, the credit of its steps.
        truth: of the same episodes, in the same order.
    """
    return {name: sums.measure() for name, sums in _sums(credits, truth).items()}


def differences(credits: Sequence[Array], others: Sequence[Array], truth: Judged) -> dict[str, Measure]:
    """All measures of one method less those of another, in pairs: on the same drawn tasks.

    Args:
        credits: per episode, the credit of its steps.
        others: the same of the other method.
        truth: of the same episodes, in the same order.
    """
    other = _sums(others, truth)
    return {name: sums.minus(other[name]) for name, sums in _sums(credits, truth).items()}


def _sums(credits: Sequence[Array], truth: Judged) -> dict[str, Sums]:
    """All measures of one method, before they are taken."""
    forward = [steps > 0 for steps in truth.progress]
    harmful = [steps < 0 for steps in truth.progress]

    def chosen(condition: Callable[[int], bool]) -> list[int]:
        return [number for number in range(len(credits)) if condition(number)]

    def ranked(numbers: list[int]) -> Sums:
        return auc(
            [credits[n] for n in numbers], [forward[n] for n in numbers], [truth.tasks[n] for n in numbers]
        )

    everything, valued = chosen(lambda n: True), chosen(lambda n: truth.values[n] is not None)
    advantages = [returns.advantages() for n in valued if (returns := truth.values[n]) is not None]
    down = [int((credits[n][forward[n]] < 0).sum()) for n in everything]
    up = [int((credits[n][harmful[n]] > 0).sum()) for n in everything]
    return {
        "auc_failed": ranked(chosen(lambda n: truth.mixed[n] and not truth.won[n])),
        "auc_won": ranked(chosen(lambda n: truth.mixed[n] and truth.won[n])),
        "auc_unmixed": ranked(chosen(lambda n: not truth.mixed[n])),
        "auc_all_failed": ranked(chosen(lambda n: not truth.won[n])),
        "auc_harmful": auc([-credit for credit in credits], harmful, truth.tasks),
        "r": correlation([credits[n] for n in valued], advantages, [truth.tasks[n] for n in valued]),
        "pushed_down": share(down, [int(steps.sum()) for steps in forward], truth.tasks),
        "pushed_up": share(up, [int(steps.sum()) for steps in harmful], truth.tasks),
        "decisive": mean(
            [_share_on(credits[n], truth_a) for n, truth_a in zip(valued, advantages, strict=True)],
            [truth.tasks[n] for n in valued],
        ),
        "size": mean([float(np.abs(credit).mean()) for credit in credits], truth.tasks),
    }


def _share_on(credit: Array, advantages: Array) -> float:
    """Share of the absolute credit that lies on the step with the largest absolute advantage."""
    total = np.abs(credit).sum()
    return float(np.abs(credit[np.abs(advantages).argmax()]) / total) if total > 0 else 0.0


def ceiling(values: Sequence[Values | None]) -> Measure:
    """Correlation h of the advantages from one half of the attempts with those from the other half.

    It says how noisy they are, and is no bound by itself: both halves are noisy, and a credit need not be.
    The exact advantages would correlate by `attainable(h)` with those from all attempts, to which credit is
    compared.
    """
    there = [value for value in values if value is not None]
    halves = [[value.advantages(slice(start, None, 2)) for value in there] for start in (0, 1)]
    return correlation(halves[0], halves[1], [value.group for value in there]).measure()


def attainable(halves: float) -> float:
    """The correlation of exact advantages with those from all attempts, if halves correlate by `halves`.

    Spearman and Brown's formula gives the reliability of the mean of two halves, 2 h / (1 + h), and its root
    is the correlation with what is measured without noise.
    """
    return float(np.sqrt(2 * max(halves, 0.0) / (1 + max(halves, 0.0))))


def split(batches: Sequence[Batch], per_step: Sequence[Array]) -> list[Array]:
    """The credit of every episode, cut from that of all steps [S] of each batch."""
    parts = []
    for batch, values in zip(batches, per_step, strict=True):
        counts = torch.bincount(batch.steps.episode_of_step, minlength=batch.num_episodes).tolist()
        parts += np.split(values, np.cumsum(counts)[:-1])
    return parts
