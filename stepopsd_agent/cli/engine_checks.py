"""What settings ask of the engine that plays: what it cannot do is refused, what it does not read named."""

import sys
from collections.abc import Iterator

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.launching import follows
from stepopsd_agent.config import LearnerConfig, RolloutConfig, RunConfig


def check_shared_play(config: RunConfig, several: bool) -> None:
    """Refuse engines of their own where processes share a run.

    Args:
        config: of the run.
        several: whether a launcher starts its processes.
    """
    if config.rollout.backend != "builtin" and several:
        raise UsageError(
            f"rollout.backend is {config.rollout.backend}, but torchrun's processes play for themselves: "
            "set it to builtin, or start one process"
        )


def tell_unread(config: RunConfig) -> None:
    """Name the settings of another engine, which change nothing, on standard error."""
    backend = config.rollout.backend
    for name, value in _unread(config) if not follows() else ():
        told = f"{name} is {value}, which rollout.backend {backend} does not read"
        print(f"stepopsd: notice: {told}", file=sys.stderr)


def _unread(config: RunConfig) -> Iterator[tuple[str, object]]:
    """Settings that are not the defaults, and that nothing reads with this engine."""
    rollout = config.rollout
    groups = (
        ("rollout", ("actors", "actor_gpus"), rollout.backend == "ray", RolloutConfig()),
        ("rollout", ("engine_memory",), rollout.foreign, RolloutConfig()),
        ("learner", ("mismatch", "mismatch_per"), rollout.foreign, LearnerConfig()),
    )
    for section, names, read, usual in groups:
        for name in names if not read else ():
            value = getattr(getattr(config, section), name)
            if value != getattr(usual, name):
                yield f"{section}.{name}", value
