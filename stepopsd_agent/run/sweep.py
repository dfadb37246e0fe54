"""A sweep: every combination of some settings is trained with several seeds, and the runs are compared.

A run with a ``summary.json`` is finished. To resume a sweep is to continue or begin all other runs.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from stepopsd_agent.run.files.metrics_log import evaluations, read_rows
from stepopsd_agent.run.jobs import Job

LONGEST_NAME = 120
"""Characters of a run's name; file systems allow 255 bytes."""
Curve = list[tuple[int, float]]
"""Pairs (updates done, success at evaluation as a share from 0 to 1)."""


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: name of its folder, unique in the sweep.
        settings: value of each setting in the grid, as given on the command line.
        seed: seed of the run.
    """

    name: str
    settings: dict[str, str]
    seed: int


def combinations(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return every combination of one value per setting; the last setting changes fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def label(settings: Mapping[str, str], between: str = ", ") -> str:
    """Format a combination as name=value pairs; ``learner.lr`` becomes ``lr`` unless that is ambiguous."""
    short = [key.rpartition(".")[2] for key in settings]
    keys = [last if short.count(last) == 1 else key for last, key in zip(short, settings, strict=True)]
    return between.join(f"{key}={value}" for key, value in zip(keys, settings.values(), strict=True))


def sweep_runs(grid: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> list[SweepRun]:
    """Return all runs, ordered by seed, so that a sweep stopped early has tried every combination."""
    cells = combinations(grid)
    names = [re.sub(r"[^\w.=,+-]+", "_", label(cell, ",")) for cell in cells]
    if len(set(names)) < len(names) or max(map(len, names)) > LONGEST_NAME:
        names = [f"combination{number}" for number in range(len(cells))]
    return [
        SweepRun(f"{name},seed={seed}".lstrip(","), cell, seed)
        for seed in seeds
        for name, cell in zip(names, cells, strict=True)
    ]


def run_folder(out: Path, run: SweepRun) -> Path:
    """Return the folder of a run."""
    return out / "runs" / run.name


def is_finished(folder: Path) -> bool:
    """Return whether a run has ended, by itself or by an alarm; its last evaluation is done then."""
    return (folder / "summary.json").is_file()


def training_job(folder: Path, config: Path, log: Path, threads: int = 1) -> Job:
    """Return the command that begins a run, or resumes it if its folder has a ``config.yaml``.

    Args:
        folder: run folder.
        config: config file of a run that has not begun.
        log: file for the output of the command.
        threads: CPU threads of the process.
    """
    begin = [sys.executable, "-m", "stepopsd_agent", "train"]
    if (folder / "config.yaml").exists():
        arguments = ["--resume", str(folder)]
    else:
        arguments = ["--config", str(config), "--out", str(folder)]
    return Job(folder.name, [*begin, *arguments], log, {"OMP_NUM_THREADS": str(threads)})


def curve(run: Path) -> Curve:
    """Read the evaluations of a run from its ``metrics.jsonl``; none if the last was of errors alone."""
    rows = read_rows(run / "metrics.jsonl")
    last = [row["update"] for row in rows if "eval" in row][-1:]
    points = [(update, entry["success"]) for update, entry in evaluations(rows)]
    return points if [update for update, _ in points[-1:]] == last else []


def area(points: Curve) -> float:
    """Return the mean success over the updates: trapezoidal area under the curve, divided by its width."""
    updates, success = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    if updates[-1] == updates[0]:
        return float(success[-1])
    areas = np.diff(updates) * (success[1:] + success[:-1]) / 2
    return float(areas.sum() / (updates[-1] - updates[0]))


def sweep_rows(out: Path, runs: Sequence[SweepRun]) -> list[dict[str, Any]]:
    """Return a row per combination: results of its finished runs, and the names of the others.

    ``success`` is that of the last evaluation, never the best one; ``area`` is the area under the curve. Both
    have the mean over seeds, the lowest and the highest, and Student's 95 % interval of that mean. The
    interval covers the variation between seeds on these tasks, not the variation between tasks. It is None
    where runs end alike, since they do not show how seeds differ, and where there is only one run. A run
    whose last evaluation met nothing but errors counts as unfinished: how well it ended is not known.
    """
    cells: dict[str, list[SweepRun]] = {}
    for run in runs:
        cells.setdefault(json.dumps(run.settings), []).append(run)
    return [_row(out, cell) for cell in cells.values()]


def _row(out: Path, runs: Sequence[SweepRun]) -> dict[str, Any]:
    ended = [run for run in runs if is_finished(run_folder(out, run))]
    found = {run.name: points for run in ended if (points := curve(run_folder(out, run)))}
    done, curves = [run for run in ended if run.name in found], list(found.values())
    last, areas = [points[-1][1] for points in curves], [area(points) for points in curves]
    return {
        "settings": runs[0].settings,
        "seeds": [run.seed for run in done],
        "success": _over_seeds(last),
        "area": _over_seeds(areas),
        "curves": curves,
        "unfinished": [run.name for run in runs if run not in done],
    }


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, interval and range. Where all are equal, Student's interval would have no width."""
    from stepopsd_agent.ops import mean_interval

    interval = mean_interval(values)
    if len(set(values)) == 1:
        interval["ci95"] = None
    return {**interval, "range": [min(values), max(values)] if values else None, "values": list(values)}


def rows_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the table of a sweep, sorted by falling success; rows without a finished run come last."""
    order = sorted(rows, key=lambda row: -(row["success"]["mean"] if row["seeds"] else -1.0))
    names = [label(row["settings"]) or "as configured" for row in order]
    width = max(len("settings"), *map(len, names))
    broken = any(row["unfinished"] for row in rows)
    heading = "success    95 % interval  lowest, highest   area  seeds"
    lines = [f"{'settings':<{width}}  {heading}{'  unfinished' * broken}"]
    for name, row in zip(names, order, strict=True):
        count = f"  {len(row['unfinished']):>10}" if broken else ""
        success, under = _percent(row["success"]["mean"]), _number(row["area"]["mean"])
        interval, ends = _between(row["success"]["ci95"]), _between(row["success"]["range"])
        figures = f"{success:>7}  {interval:>15}  {ends:>15}  {under:>5}  {len(row['seeds']):>5}"
        lines.append(f"{name:<{width}}  {figures}{count}")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _between(bounds: Sequence[float] | None) -> str:
    """Format an interval of a success rate, clipped to [0, 1]."""
    if bounds is None:
        return "-"
    low, high = (min(1.0, max(0.0, bound)) for bound in bounds)
    return f"{low:.1%} to {high:.1%}"
