"""Which other weights of the policy's network a run keeps, in memory and in its checkpoints."""

from collections.abc import Collection

from stepopsd_agent.config import RunConfig

_TEACHER_COLUMNS = {"teacher_logprobs", "teacher_topk"}


def asks_a_teacher(needs: Collection[str]) -> bool:
    """Whether a credit method with these needs reads what a hindsight teacher says."""
    return not _TEACHER_COLUMNS.isdisjoint(needs)


def kept_weights(config: RunConfig, needs: Collection[str]) -> frozenset[str]:
    """Names of the weights that a run cannot do without, of "initial" and "teacher".

    Args:
        config: of the run.
        needs: columns that the credit method reads at any update.

    Returns:
        "initial" where there is a KL term or the teacher has these weights; "teacher" where a teacher is a
        moving average, or a snapshot that is older than the policy at some update.
    """
    hindsight, asked = config.hindsight, asks_a_teacher(needs)
    kept = set()
    if config.learner.kl_coef or "ref_logprobs" in needs or (asked and hindsight.teacher == "initial"):
        kept.add("initial")
    if asked and (hindsight.teacher == "ema" or (hindsight.teacher == "stale" and hindsight.refresh > 1)):
        kept.add("teacher")
    return frozenset(kept)
