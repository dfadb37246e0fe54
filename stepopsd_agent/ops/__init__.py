"""Pure tensor functions: reductions over steps and groups, losses, schedules, intervals."""

from stepopsd_agent.ops.reductions import (
    discounted_so_far,
    discounted_to_go,
    following,
    group_count,
    group_mean,
    group_std,
    joined_ids,
    masked_mean,
    preceding,
    spread_steps,
    standardised,
    step_count,
    step_mean,
    whiten,
)

__all__ = [
    "discounted_so_far",
    "discounted_to_go",
    "following",
    "group_count",
    "group_mean",
    "group_std",
    "joined_ids",
    "masked_mean",
    "preceding",
    "spread_steps",
    "standardised",
    "step_count",
    "step_mean",
    "whiten",
]
