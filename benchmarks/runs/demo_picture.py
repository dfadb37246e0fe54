"""The credit of the demonstration as a picture: the figures of each method above, one episode below."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepopsd_agent.run.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"auc_failed": ("o", "lost"), "auc_won": ("s", "won")}
COLOURS = "RdBu"
"""Red for negative, blue for positive credit: distinguishable with any colour vision."""
FULL = 2.0
"""Credit of this size, or larger, has the strongest colour: two standard deviations of a group."""
STRONGEST = 0.6
"""Share of the colour range in use, so that black numbers stay readable on it."""


def draw(found: Mapping[str, Any], out: Path) -> None:
    """Draw figures and episode.

    Args:
        found: as in ``credit.json``.
        out: PNG file to write.
    """
    from matplotlib.figure import Figure

    episode = found["episode"]
    above = 0.8 + 0.35 * len(found["methods"])
    below = 0.9 + 0.24 * len(episode["steps"]) if episode else 0.0
    figure = Figure(figsize=(9, above + below), layout="constrained")
    if episode:
        top, bottom = figure.subplots(2, 1, height_ratios=[above, below])
        _episode(bottom, episode)
    else:
        top = figure.subplots()
    _accuracy(top, found["methods"])
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes_atomic(out, picture.getvalue())


def _accuracy(axes: "Axes", rows: Mapping[str, Any]) -> None:
    """AUC of each method with its interval, in lost and in won episodes."""
    for offset, (name, (marker, kind)) in enumerate(PANELS.items()):
        colour = f"C{offset}"
        axes.plot([], [], marker, color=colour, ms=5, label=f"{kind} episodes, 95 % interval")
        for place, row in enumerate(rows.values()):
            one, y = row[name], place + 0.2 * (2 * offset - 1)
            if one["n"]:
                axes.plot([one["low"], one["high"]], [y, y], color=colour)
                axes.plot(one["value"], y, marker, color=colour, ms=5)
    axes.axvline(0.5, color="grey", lw=0.8, ls=":")
    axes.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_title("Chance that a step nearer to the goal has more credit than others", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    axes.legend(loc="center left", fontsize=8)


def _episode(axes: "Axes", episode: Mapping[str, Any]) -> None:
    """A row for each step: whether it led nearer, and its credit from each method."""
    from matplotlib import colormaps

    steps, methods = episode["steps"], list(episode["steps"][0]["credit"])
    colours = colormaps[COLOURS]

    def colour(share: float) -> Any:
        return colours(0.5 + 0.5 * STRONGEST * max(-1.0, min(1.0, share)))

    cells = []
    for row, step in enumerate(steps):
        nearer = (step["nearer"] > 0) - (step["nearer"] < 0)
        words = ["nearer" if nearer > 0 else "away" if nearer < 0 else ""]
        words += [f"{step['credit'][method]:+.2f}" for method in methods]
        cells.append([colour(nearer), *(colour(step["credit"][method] / FULL) for method in methods)])
        for column, word in enumerate(words):
            axes.text(column, row, word, ha="center", va="center", fontsize=8)
    axes.imshow(cells, aspect="auto")
    axes.axvline(0.5, color="black", lw=1.5)
    axes.set_xticks(range(1 + len(methods)), ["goal", *methods])
    labels = [f"{number}  {step['command']}" for number, step in enumerate(steps, start=1)]
    axes.set_yticks(range(len(steps)), labels, fontsize=8)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_title(f"The lost episode on which they differ most: {episode['task']}", fontsize=10)
