"""The log of a run: a row of metrics for each update.

A row of `metrics.jsonl` belongs to a number of finished updates (0 is before the first) and holds no clock:
two runs of one seed write equal files; wall times go to `timing.jsonl`.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from stepopsd_agent.run.files.atomic import naming, write_bytes_atomic
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_agent.run.files.tracking import TrackedRun, Trackers
from stepopsd_envs.plain_file import plain_file

Row = dict[str, Any]


def _strict(value: Any) -> Any:
    """Spell NaN and infinities as strings, which JSON can hold and `float` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return value


def _scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Flatten the numbers of a row to tags: {"eval": {"success": 1}} gives ("eval/success", 1.0)."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield prefix + key, float(value)


def read_rows(path: Path | str) -> list[Row]:
    """Read a .jsonl file of rows; a torn last line (the writer was killed) is left out."""
    with plain_file(path).open("rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def evaluations(rows: Iterable[Row], key: str = "eval") -> list[tuple[int, Row]]:
    """Update and entry of every evaluation in which some episode ended without an error.

    Where all did end in one, a success of zero would be made up.
    """
    found = [(row["update"], row[key]) for row in rows if key in row]
    return [(update, entry) for update, entry in found if entry["n"]]


def _open_rows(path: Path, resume_at: int | None) -> BinaryIO:
    """Open a row file for appending, without the torn last line and the rows of updates after `resume_at`."""
    if resume_at is None and path.exists() and path.stat().st_size > 0:
        raise FileExistsError(
            f"{path} holds the rows of an earlier run; resume that run, choose another folder, or remove it"
        )
    if resume_at is not None and path.exists():
        found = plain_file(path).read_bytes().splitlines(keepends=True)
        lines = [line for line in found if line.endswith(b"\n")]
        kept = [line for n, line in enumerate(lines, start=1) if _update_of(line, n, path) <= resume_at]
        write_bytes_atomic(path, b"".join(kept))
    with naming(path):
        return plain_file(path, missing_ok=True).open("ab")


def _require_rows(path: Path, resume_at: int) -> None:
    """Refuse to go on without the rows of earlier updates: a curve with a hole shows another run."""
    lines = plain_file(path).read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    there = {_update_of(line, number, path) for number, line in enumerate(whole, start=1)}
    missing = sorted(set(range(resume_at + 1)) - there)
    if missing:
        raise CheckpointError(
            f"{path} has no rows of {len(missing)} of the {resume_at + 1} updates so far, such as update "
            f"{missing[0]}: put the file back, then resume; or begin a new run in another folder"
        )


def _update_of(line: bytes, number: int, path: Path) -> int:
    try:
        return int(json.loads(line)["update"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} line {number} is not a row of metrics ({error!r:.100}); remove that line, or restore "
            "the file, then resume"
        ) from error


class MetricsLog:
    """The rows of a run: `metrics.jsonl` and `timing.jsonl` in `folder`, and what its trackers show.

    Write every row of an update before its checkpoint is saved: then resuming at that checkpoint (`resume_at`
    is its number of updates) drops exactly the rows that will be written again.

    Args:
        folder: The run folder; made if absent.
        resume_at: None starts new files and refuses old ones. A number keeps rows whose `update` is at most
            this.
        tracking: Names of trackers.
        settings: Of the run, for trackers that show them.

    Raises:
        CheckpointError: A line of the old files is not a row, or rows up to ``resume_at`` are missing.
        TrackingError: A tracker cannot be started.
    """

    def __init__(
        self,
        folder: Path | str,
        resume_at: int | None = None,
        tracking: tuple[str, ...] = ("tensorboard",),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._metrics_path = self._folder / "metrics.jsonl"
        self._timing_path = self._folder / "timing.jsonl"
        if resume_at is not None:
            _require_rows(self._metrics_path, resume_at)
        self._metrics = _open_rows(self._metrics_path, resume_at)
        self._timing = _open_rows(self._timing_path, resume_at)
        self._trackers = Trackers(tracking, TrackedRun(self._folder, settings or {}, resume_at))

    def write(self, update: int, metrics: Mapping[str, Any], timing: Mapping[str, Any] | None = None) -> None:
        """Append one row and see it on disk.

        Args:
            update: Updates finished when this was measured.
            metrics: JSON-able values; the same in every run of this seed.
            timing: Wall times and rates, kept apart; no line when None.
        """
        self._put(self._metrics, self._metrics_path, update, metrics)
        if timing is not None:
            self._put(self._timing, self._timing_path, update, timing)
        self._trackers.log(dict(_scalars({**metrics, "timing": timing or {}})), update)

    @staticmethod
    def _put(file: BinaryIO, path: Path, update: int, values: Mapping[str, Any]) -> None:
        row = {**_strict(values), "update": update}
        line = json.dumps(row, sort_keys=True, allow_nan=False) + "\n"
        with naming(path):
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; rows already written are on disk without it."""
        self._metrics.close()
        self._timing.close()
        self._trackers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
