"""Plots that compare generated houses with official ones."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from stepopsd_agent.run.files import write_bytes_atomic

COLUMNS = 5


def draw(result: Mapping[str, Any], out: Path) -> None:
    """Draw both distributions of each figure, the shares of the task types, and the types in every room."""
    from matplotlib.figure import Figure

    figures, rooms = result["figures"], result["types"]
    rows = -(-(len(figures) + 1 + len(rooms)) // COLUMNS)
    picture = Figure(figsize=(3.6 * COLUMNS, 3.0 * rows), layout="constrained")
    axes = iter(picture.subplots(rows, COLUMNS).flat)
    for name, row in figures.items():
        _distributions(next(axes), name, row)
    _task_types(next(axes), result["task_types"])
    for room, counts in rooms.items():
        _types(next(axes), room, counts)
    for unused in axes:
        unused.set_axis_off()
    picture.suptitle("Official training games and generated games of tier full")
    image = BytesIO()
    picture.savefig(image, format="png", dpi=80)
    write_bytes_atomic(out, image.getvalue())


def _distributions(axes: Any, name: str, row: Mapping[str, Any]) -> None:
    values = row["values"]
    low, high = (pick(list(map(pick, values.values()))) for pick in (min, max))
    bins = np.arange(low - 0.5, high + 1.5) if high - low < 25 else np.linspace(low, high, 25)
    for kind, colour in (("official", "C0"), ("full", "C1")):
        axes.hist(values[kind], bins=bins, density=True, alpha=0.45, color=colour, label=kind)
    axes.set_title(name, fontsize=10)
    axes.set_yticks([])
    axes.legend(fontsize=8)


def _task_types(axes: Any, shares: Mapping[str, Any]) -> None:
    places = np.arange(len(shares))
    for offset, kind in enumerate(("official", "full")):
        axes.barh(places + 0.4 * offset, [pair[offset] for pair in shares.values()], height=0.4, label=kind)
    names = [name.removesuffix("_then_place_in_recep").removeprefix("pick_") for name in shares]
    axes.set_yticks(places + 0.2, names, fontsize=7)
    axes.set_title("share of the task types", fontsize=10)
    axes.legend(fontsize=8)


def _types(axes: Any, room: str, counts: Mapping[str, Any]) -> None:
    for what, marker in (("receptacles", "s"), ("objects", "o")):
        pairs = np.array(list(counts[what].values()))
        axes.plot(pairs[:, 0], pairs[:, 1], marker, markersize=4, alpha=0.7, label=what)
    limit = [0.01, 20.0]
    axes.plot(limit, limit, color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=limit, ylim=limit, xlabel="official", ylabel="full")
    axes.set_title(f"{room}: mean number of each type", fontsize=10)
    axes.legend(fontsize=8)
