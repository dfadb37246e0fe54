"""Learning curves of algorithms of stable-baselines3 as a picture."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any


def draw_curves(result: Mapping[str, Any]) -> bytes:
    """A PNG: success on held-out games by minutes of CPU time, one line for each algorithm and seed.

    Args:
        result: as `benchmarks.runs.sb3.summarise` gives it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, (name, runs) in enumerate(result["curves"].items()):
        for place, curve in enumerate(runs.values()):
            minutes = [row["seconds"] / 60 for row in curve]
            success = [row["success"] for row in curve]
            axes.plot(minutes, success, f"C{colour}o-", ms=3, label=None if place else name)
    for name, style in (("oracle", "--"), ("random agent", ":")):
        axes.axhline(result["rows"][name]["success"], color="grey", ls=style, lw=1, label=name)
    axes.axvline(result["minutes"], color="grey", lw=0.6)
    axes.set(ylim=(-0.02, 1.02), xlim=(0, None))
    axes.set_xlabel("minutes of training on one core")
    axes.set_ylabel("held-out games won")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="center right")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
