"""Commands of one state ranked by a signal, and by their value under an expert (QVal, arXiv 2606.32034).

QVal resets an environment to a state, gives a command, lets an expert continue, and correlates the ranks of a
signal with those of the returns. Here the expert is the oracle, whose play needs no sampling. The reward is 1
at the goal, discounted by gamma for every further command. So with d(s') the fewest commands to the goal from
the state s' that command a leads to

    Q(s, a) = gamma^d(s')

which is 1 for the command that reaches the goal, and 0 where the goal can no longer be reached. The step
limit is ignored: it says nothing about the command, and the signals do not know it.
"""

from collections.abc import Sequence

import numpy as np

from stepopsd_agent.accuracy.measures import Array
from stepopsd_agent.accuracy.truth import UNREACHABLE


def optimal_q(distances: Sequence[int], gamma: float = 0.95) -> Array:
    """[commands] Q of commands that lead to states at these distances (commands) from the goal.

    Raises:
        ValueError: a distance was not computed: it is below 0 and not `UNREACHABLE`.
    """
    if unknown := sorted({d for d in distances if d < 0 and d != UNREACHABLE}):
        raise ValueError(f"{unknown[0]} is no distance: make the environment with oracle=True")
    return np.array([0.0 if d == UNREACHABLE else gamma**d for d in distances])


def average_ranks(values: Array) -> Array:
    """[n] ranks from 1; equal values share the mean of theirs."""
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[kind], dtype=float)


def spearman(signal: Array, truth: Array) -> float | None:
    """Spearman's correlation of a signal and the truth over the commands of one state, [commands] each.

    0 if the signal is the same for all commands; None if the truth is, as there is nothing to rank.
    """
    x, y = (ranks - ranks.mean() for ranks in (average_ranks(signal), average_ranks(truth)))
    if not y.any():
        return None
    return float(x @ y / np.sqrt((x @ x) * (y @ y))) if x.any() else 0.0
