"""The first update of a run beside its plan, made again with the lengths that the update had."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from stepopsd_agent.config import RunConfig
from stepopsd_agent.hindsight import Block, block_tokens, hindsight_blocks
from stepopsd_agent.learner import told_answers
from stepopsd_agent.run.kept_weights import asks_a_teacher
from stepopsd_agent.run.planning.device_speed import measured_rates
from stepopsd_agent.run.planning.fitting import device_memory
from stepopsd_agent.run.planning.lengths import played_lengths
from stepopsd_agent.run.planning.plan import (
    ACTORS,
    memory_by_part,
    seconds_by_part,
    tokens_by_part,
    uncounted,
    without,
)
from stepopsd_agent.run.planning.shapes import shape_of
from stepopsd_agent.run.trainer import Trainer
from stepopsd_wrappers import Episode

TOLERANCE = 0.1
"""By which share a peak may exceed its plan."""

_PARTS = {"playing": "rollout_s", "scoring": "score_s", "update": "update_s"}
"""Measured parts of an update, by the part of the plan that each is compared with."""


def first_update(
    trainer: Trainer, episodes: Sequence[Episode], seconds: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Planned and actual tokens and time, and on CUDA the peak memory.

    Args:
        trainer: after its first update.
        episodes: of that update.
        seconds: that its parts took; None leaves the time out.
    """
    config, weight = trainer.config, trainer.policy.model.dtype
    chosen = trainer.chosen(episodes)
    told = chosen if config.hindsight.mode != "gold" or asks_a_teacher(trainer.method.needs) else []
    answers = told_answers(trainer.envs, told) if config.hindsight.mode == "gold" and told else None
    blocks = hindsight_blocks(trainer.policy, config.hindsight, told, answers) if told else []
    lengths = played_lengths(chosen or episodes, _mean_block(config, blocks, told))
    planned = tokens_by_part(config, trainer.method.needs, lengths)
    scored = sum(planned.get(name, 0) for name in ("old log-probs", "student", "teacher", "reference"))
    counted = trainer.counters
    comparison: dict[str, Any] = {
        "lengths": vars(lengths),
        "tokens": {
            "generated": {
                "planned": planned["sampled"] + planned.get("fresh attempts, sampled", 0),
                "counted": counted.generated,
            },
            "scored": {"planned": scored, "counted": counted.scored},
            "trained": {"planned": planned["update"], "counted": counted.trained},
        },
    }
    if columns := uncounted(trainer.method.needs):
        comparison["columns_not_planned"] = columns
    shape = shape_of(trainer.policy.model.config, config.learner.lora, weight)
    if seconds is not None:
        rates = measured_rates(trainer.policy.device, weight)
        parts = seconds_by_part(config, shape, trainer.method.needs, lengths, rates, weight.itemsize)
        comparison["time"] = compared_time(parts, seconds)
    if trainer.policy.device.type == "cuda":
        total = device_memory(str(trainer.policy.device))
        memory = memory_by_part(config, shape, lengths, weight.itemsize, trainer.method.needs, total)
        own = memory["at most at once"] - memory.get(ACTORS, 0)  # the peak is that of this process
        comparison["memory"] = {"planned": own, "peak": peak_memory(trainer)}
    return comparison


def _mean_block(config: RunConfig, blocks: Sequence[Block], episodes: Sequence[Episode]) -> float:
    """Ids of a hindsight block, in the mean over the times that a teacher reads one.

    Where every step has its own, long episodes count for more. They are the lost ones, and lost episodes are
    told of a peer.
    """
    by_step = config.hindsight.position == "inline" or config.env.layout == "window"
    times = [len(episode.steps) - 1 if by_step else 1 for episode in episodes]
    ids = sum(block_tokens(block) * count for block, count in zip(blocks, times, strict=True))
    return ids / max(1, sum(times))


def compared_time(parts: Mapping[str, float], seconds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Planned and taken seconds of playing, scoring and update."""
    planned = dict.fromkeys(_PARTS, 0.0)
    for name, value in parts.items():
        planned[name if name in planned else "scoring"] += value
    return {
        name: {"planned": round(value, 6), "taken": round(seconds.get(_PARTS[name], 0.0), 6)}
        for name, value in planned.items()
    }


def peak_memory(trainer: Trainer) -> int:
    """Most bytes in use at once so far; growing budgets reset the device's count, but keep its peak."""
    now = torch.cuda.max_memory_allocated(trainer.policy.device)
    critic = 0 if trainer.critic is None else trainer.critic.budget.peak
    return max(now, trainer.learner.budget.peak, trainer.scorer.budget.peak, critic)


def in_words(comparison: dict[str, Any]) -> str:
    """One line; it says so where memory went beyond the plan."""
    tokens = comparison["tokens"]
    parts = [f"{name} {row['counted']:,} (planned {row['planned']:,})" for name, row in tokens.items()]
    left_out = without(comparison.get("columns_not_planned", ()))
    line = f"first update beside a plan for its lengths{left_out}: tokens {', '.join(parts)}"
    if "time" in comparison:
        planned, taken = (
            sum(row[key] for row in comparison["time"].values()) for key in ("planned", "taken")
        )
        line += f"; {taken:,.1f} s (planned {planned:,.1f} s)"
    if "memory" not in comparison:
        return line
    planned, peak = comparison["memory"]["planned"], comparison["memory"]["peak"]
    beyond = ", more than planned" if peak > (1 + TOLERANCE) * planned else ""
    return f"{line}; memory {peak / 2**30:.2f} GiB (planned {planned / 2**30:.2f} GiB){beyond}"
