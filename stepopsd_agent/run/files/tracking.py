"""Experiment trackers, which show the metrics of a run: TensorBoard, Weights & Biases and Trackio.

A tracker reads its keys and addresses from its own environment variables. It is passed the metrics and the
settings of the run, and neither holds a key.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from stepopsd_agent.run.files.atomic import write_json_atomic
from stepopsd_envs.plain_file import plain_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PROJECT = "stepopsd"
IDS = "tracking.json"
"""File of a run folder with the run's id in each tracker, so that a resumed run keeps its id."""


class TrackingError(Exception):
    """A tracker cannot be started; the message says why, and what to do."""


class Tracker(Protocol):
    """Shows the metrics of one run."""

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """Log the metrics of a finished update."""

    def close(self) -> None:
        """Store everything that was logged, and end."""


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker shows.

    Attributes:
        folder: run folder; its name is the name of the run.
        settings: settings of the run.
        resume_at: update of the checkpoint from which a run is resumed; rows after it are logged again.
            None or negative for a new run.
    """

    folder: Path
    settings: Mapping[str, Any]
    resume_at: int | None


class _TensorBoard:
    """Event files in ``tensorboard/``, created with the first row that is logged."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._events: SummaryWriter | None = None

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self._events is None:
            # purge_step hides events that a killed run wrote after its last checkpoint.
            purge = None if self._run.resume_at is None else self._run.resume_at + 1
            self._events = SummaryWriter(str(self._run.folder / "tensorboard"), purge_step=purge)
        for tag, value in scalars.items():
            self._events.add_scalar(tag, value, global_step=update)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


class _WandB:
    """Weights & Biases, offline in ``wandb/``; it ignores rows of updates that it already has."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.folder.name,
            id=_id_of(run.folder, "wandb"),
            resume="allow",
            dir=str(run.folder),
            config=dict(run.settings),
            settings=settings,
        )

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        self._run.log(dict(scalars), step=update)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """Trackio, with its local database in the folder TRACKIO_DIR; ``trackio show`` opens it."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        ids = run.folder / IDS
        known = ids.exists() and "trackio" in json.loads(plain_file(ids).read_text())
        name = f"{run.folder.name}-{_id_of(run.folder, 'trackio')}"
        with redirect_stdout(sys.stderr):  # stdout is for the result of the command
            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=name,
                config=dict(run.settings),
                resume="allow" if known else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        self._run.log(dict(scalars), step=update)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()


_MAKERS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WandB,
    "trackio": _Trackio,
}


class Trackers:
    """Several trackers. One that fails during the run is dropped with a warning; training continues."""

    def __init__(self, names: tuple[str, ...], run: TrackedRun) -> None:
        """Start the trackers with these names.

        Raises:
            TrackingError: a tracker cannot be started.
        """
        self._open = dict[str, Tracker]()
        for name in names:
            try:
                self._open[name] = _MAKERS[name](run)
            except Exception as error:
                self.close()
                others = ",".join(other for other in names if other != name) or "none"
                raise TrackingError(
                    f"{name} cannot be started: {_safe(error)}. Correct that, let it work offline by its "
                    f"variables (WANDB_MODE=offline), or leave it out with --tracking {others}"
                ) from error

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """Log the metrics of a finished update in every tracker."""
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.log(scalars, update))

    def close(self) -> None:
        """Close every tracker."""
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.close())
        self._open.clear()

    def _try(self, name: str, act: Callable[[Tracker], None]) -> None:
        try:
            act(self._open[name])
        except Exception as error:
            del self._open[name]
            warnings.warn(f"{name} failed and gets no further metrics: {_safe(error)}", stacklevel=3)


def _safe(error: Exception) -> str:
    """Return an error's text without the values of variables that may hold keys; trackers quote them."""
    text = f"{type(error).__name__}: {error}"
    for name, value in os.environ.items():
        if value and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_URL")):
            text = text.replace(value, "***")
    return text


def _id_of(folder: Path, name: str) -> str:
    """Return the id of the run in a tracker; the first call draws it and writes it to the run folder."""
    path = folder / IDS
    ids: dict[str, str] = json.loads(plain_file(path).read_text(encoding="utf-8")) if path.exists() else {}
    if name not in ids:
        ids[name] = uuid4().hex[:8]
        write_json_atomic(path, ids)
    return ids[name]
