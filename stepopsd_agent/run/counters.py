"""Consumption of a run, counted from update to update."""

from dataclasses import dataclass


@dataclass
class Counters:
    """Consumption of a run; goes into the summary.

    Attributes:
        env_steps: environment interactions.
        generated: tokens sampled.
        scored: tokens of forward passes without gradient: teacher, reference, old policy, critic.
        trained: tokens processed by updates.
        wasted: tokens sampled in groups that were left out: for an error, or since their returns are equal.
        errors: episodes that ended in an error.
    """

    env_steps: int = 0
    generated: int = 0
    scored: int = 0
    trained: int = 0
    wasted: int = 0
    errors: int = 0
