"""Where a run folder is continued: at its newest checkpoint, or at the beginning if it has no update yet."""

from pathlib import Path

from stepopsd_agent.run.files.checkpoint import latest_checkpoint
from stepopsd_agent.run.files.errors import CheckpointError

_OF_UPDATES = ("plan.json", "summary.json", "curve.png")
"""Files of a run folder that are not there before the first update."""


def resume_point(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run folder, or None where no update was made.

    The first checkpoint is written before the first update. Until then a run begins again without a loss;
    afterwards that would cut its rows and episodes and take the trained weights for the initial ones.

    Raises:
        CheckpointError: updates were made, but their checkpoints are gone or damaged.
    """
    path = latest_checkpoint(run / "checkpoints")
    if path is None and (traces := _traces_of_updates(run)):
        raise CheckpointError(
            f"{run} has no checkpoint, but {', '.join(traces)} of updates that were made: beginning again "
            f"would destroy them. Put {run / 'checkpoints'} back, or begin a new run with: stepopsd train "
            f"--config {run / 'config.yaml'} --out FOLDER"
        )
    return path


def _traces_of_updates(run: Path) -> list[str]:
    """Names of what only updates write, as far as it is there."""
    traces = [name for name in _OF_UPDATES if (run / name).exists()]
    rows = run / "metrics.jsonl"
    if rows.is_file() and rows.read_bytes().count(b"\n") > 1:  # the first row is of the evaluation before
        traces.append(rows.name)
    timing = run / "timing.jsonl"
    if timing.is_file() and timing.stat().st_size:
        traces.append(timing.name)
    if any(shard.stat().st_size for shard in (run / "episodes").glob("episodes-*.jsonl*")):
        traces.append("episodes")
    return traces
