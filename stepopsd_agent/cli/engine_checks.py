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
    for name, value, chosen in _unread(config) if not follows() else ():
        print(f"stepopsd: notice: {name} is {value}, which {chosen} does not read", file=sys.stderr)


def _unread(config: RunConfig) -> Iterator[tuple[str, object, str]]:
    """Settings that are not the defaults and that nothing reads, with the choice that makes it so."""
    rollout, learner = config.rollout, config.learner
    backend, mismatch = f"rollout.backend {rollout.backend}", f"learner.mismatch {learner.mismatch}"
    weighed = mismatch if rollout.foreign else backend
    served = "the server at rollout.url" if rollout.foreign else backend
    of_rollout, of_learner = ("rollout", RolloutConfig()), ("learner", LearnerConfig())
    groups = (
        (of_rollout, ("actors", "actor_gpus"), rollout.backend == "ray", backend),
        (of_rollout, ("engine_memory",), rollout.foreign and rollout.url is None, served),
        (of_learner, ("mismatch",), rollout.foreign, backend),
        (of_learner, ("mismatch_per",), rollout.foreign and learner.mismatch != "none", weighed),
        (of_learner, ("mismatch_cap",), rollout.foreign and learner.mismatch == "truncate", weighed),
        (
            of_learner,
            ("mismatch_low", "mismatch_high"),
            rollout.foreign and learner.mismatch == "mask",
            weighed,
        ),
    )
    for (section, usual), names, read, chosen in groups:
        for name in names if not read else ():
            value = getattr(getattr(config, section), name)
            if value != getattr(usual, name):
                yield f"{section}.{name}", value, chosen
