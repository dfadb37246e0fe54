"""Trackers of experiments: what a row of metrics is shown in, beside the files of the run folder.

Keys and addresses are the tracker's own business: it reads them from its environment variables. It is given
numbers and the settings of the run, none of which holds a key.
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

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PROJECT = "stepopsd"
IDS = "tracking.json"
"""File of a run folder by which trackers know a run that is continued."""


class TrackingError(Exception):
    """A tracker cannot begin; the message says why, and what to do."""


class Tracker(Protocol):
    """Shows the numbers of a run."""

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """Show numbers of a finished update."""

    def close(self) -> None:
        """See all of them stored."""


@dataclass(frozen=True)
class TrackedRun:
    """A run, for a tracker that begins or continues it.

    Attributes:
        folder: of the run; its name is that of the run.
        settings: of the run.
        resume_at: rows after this update are written again; None or below 0 for a run that begins.
    """

    folder: Path
    settings: Mapping[str, Any]
    resume_at: int | None


class _TensorBoard:
    """Event files in ``tensorboard/``; a run that has nothing left to do makes none."""

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
    """Weights & Biases; offline runs lie in ``wandb/``. Rows made again keep their step, and are ignored."""

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
    """Trackio; its local database is where TRACKIO_DIR says, and ``trackio show`` opens it."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        known = (run.folder / IDS).exists() and "trackio" in json.loads((run.folder / IDS).read_text())
        name = f"{run.folder.name}-{_id_of(run.folder, 'trackio')}"
        with redirect_stdout(sys.stderr):  # a command's result stays clean
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
    """Several of them. One that fails later on is left out, with a warning: the run is worth more."""

    def __init__(self, names: tuple[str, ...], run: TrackedRun) -> None:
        """Begin.

        Raises:
            TrackingError: one cannot begin.
        """
        self._open = dict[str, Tracker]()
        for name in names:
            try:
                self._open[name] = _MAKERS[name](run)
            except Exception as error:
                self.close()
                others = ",".join(one for one in names if one != name) or "none"
                raise TrackingError(
                    f"{name} cannot begin: {_safe(error)}. Mend that, set its variables for "
                    f"working offline (WANDB_MODE=offline), or leave it out with --tracking {others}"
                ) from error

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """Show numbers of a finished update in all of them."""
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.log(scalars, update))

    def close(self) -> None:
        """See all numbers stored."""
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.close())
        self._open.clear()

    def _try(self, name: str, act: Callable[[Tracker], None]) -> None:
        try:
            act(self._open[name])
        except Exception as error:
            del self._open[name]
            warnings.warn(f"{name} failed and is left out from here on: {_safe(error)}", stacklevel=3)


def _safe(error: Exception) -> str:
    """An error without keys, and addresses that may hold some: trackers quote their variables."""
    text = f"{type(error).__name__}: {error}"
    for name, value in os.environ.items():
        if value and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_URL")):
            text = text.replace(value, "***")
    return text


def _id_of(folder: Path, name: str) -> str:
    """The id under which a tracker knows the run in a folder, made when it is first asked for."""
    path = folder / IDS
    ids: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if name not in ids:
        ids[name] = uuid4().hex[:8]
        write_json_atomic(path, ids)
    return ids[name]
