"""The learning curve of one or more runs, as a picture."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from stepopsd_agent.run.files.atomic import write_bytes_atomic
from stepopsd_agent.run.files.metrics_log import Row, evaluations, read_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_curve(
    runs: Mapping[str, Sequence[Row] | Path | str],
    out_png: Path | str,
    *,
    train_key: str = "train/success",
    eval_key: str = "eval",
    title: str = "Success by update",
) -> None:
    """Draw the learning curves of one or more runs as a PNG.

    Args:
        runs: Label to rows, or to the run folder or `metrics.jsonl` that holds them.
        out_png: The picture; replaced atomically.
        train_key: Entry of a row with the success of that update's rollouts, drawn as a line.
        eval_key: Entry with a `proportion` of held-out games, drawn as a point with its interval.
        title: Text above the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="updates", ylabel="success", ylim=(-0.02, 1.02), title=title)
    for number, (label, source) in enumerate(runs.items()):
        rows = _rows_of(source) if isinstance(source, Path | str) else source
        colour = f"C{number}"
        train = [(row["update"], row[train_key]) for row in rows if train_key in row]
        axes.plot(*_columns(train), color=colour, alpha=0.4, lw=0.8, label=f"{label}: training")
        held_out = evaluations(rows, eval_key)
        points = [(update, entry["success"]) for update, entry in held_out]
        axes.plot(*_columns(points), color=colour, marker="o", label=f"{label}: evaluation, 95 % interval")
        for update, entry in held_out:
            axes.plot([update, update], entry["ci95"], color=colour, marker="_")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    _write(figure, out_png)


def plot_curves(
    curves: Mapping[str, Sequence[Sequence[tuple[int, float]]]], out_png: Path | str, *, title: str
) -> None:
    """Draw the evaluations of several runs of each kind: every run thin, the mean of a kind thick.

    Args:
        curves: Label to the runs' updates and success. The mean is over the updates that all runs have.
        out_png: The picture; replaced atomically.
        title: Text above the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="updates", ylabel="success", ylim=(-0.02, 1.02), title=title)
    styles = ("-", "--", ":", "-.")  # for more kinds than colours
    for number, (label, runs) in enumerate(curves.items()):
        colour, style = f"C{number % 10}", styles[number // 10 % len(styles)]
        for points in runs:
            axes.plot(*_columns(points), color=colour, linestyle=style, alpha=0.35, lw=0.8)
        success = [dict(points) for points in runs]
        shared = sorted(set[int].intersection(*(set(curve) for curve in success)))
        means = [sum(curve[update] for curve in success) / len(success) for update in shared]
        axes.plot(shared, means, color=colour, linestyle=style, marker="o", label=f"{label} ({len(runs)})")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    _write(figure, out_png)


def _write(figure: "Figure", out_png: Path | str) -> None:
    from matplotlib.ticker import MaxNLocator

    figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half an update
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_bytes_atomic(out_png, picture.getvalue())


def _rows_of(source: Path | str) -> list[Row]:
    path = Path(source)
    return read_rows(path / "metrics.jsonl" if path.is_dir() else path)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [float(y) for _, y in points]
