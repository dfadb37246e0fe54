"""Heat maps over `lambda_mix` and `alpha_clip`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

PER_LINE = 3


@dataclass(frozen=True)
class Map:
    """Figures [lambda_mix, alpha_clip] with the values of both."""

    title: str
    figures: Sequence[Sequence[float]]
    lambdas: Sequence[float]
    clips: Sequence[float]


def maps_of(result: Mapping[str, Any]) -> list[Map]:
    """AUC in lost and in won episodes, share of credit moved, and learning if there is any."""
    maps = list[Map]()
    axes = (result["lambda_mix"], result["alpha_clip"])
    for stage, found in result["stages"].items():
        measures = [("AUC, lost", "auc_failed"), ("AUC, won", "auc_won")]
        for label, key in measures:
            figures = [[cell[key]["value"] for cell in cells] for cells in found["grid"]]
            maps.append(Map(f"{stage} of training: {label}", figures, *axes))
        amounts = [[cell["moved"] for cell in cells] for cells in found["grid"]]
        maps.append(Map(f"{stage} of training: share of credit moved", amounts, *axes))
    if learning := result.get("learning"):
        areas = np.mean(learning["area"], axis=-1).tolist()
        title = "area under the learning curve"
        maps.append(Map(title, areas, learning["lambda_mix"], learning["alpha_clip"]))
    return maps


def draw_heat_maps(result: Mapping[str, Any]) -> bytes:
    """A PNG with the maps of a result of `two_knobs`, three per line, with the values in the cells."""
    from matplotlib.figure import Figure

    maps = maps_of(result)
    lines = -(-len(maps) // PER_LINE)
    picture = Figure(figsize=(4 * min(len(maps), PER_LINE), 3.4 * lines), layout="constrained")
    panels = picture.subplots(lines, min(len(maps), PER_LINE), squeeze=False).flatten()
    for axes in panels[len(maps) :]:
        axes.remove()
    for axes, one in zip(panels, maps, strict=False):
        image = axes.imshow(one.figures, cmap="viridis", origin="lower", aspect="auto")
        axes.set(title=one.title, xlabel="alpha_clip", ylabel="lambda_mix")
        axes.set_xticks(range(len(one.clips)), [f"{clip:g}" for clip in one.clips])
        axes.set_yticks(range(len(one.lambdas)), [f"{share:g}" for share in one.lambdas])
        low, high = image.get_clim()
        for y, line in enumerate(one.figures):
            for x, figure in enumerate(line):
                colour = "black" if figure > (low + high) / 2 else "white"
                axes.text(x, y, f"{figure:.3f}", ha="center", va="center", fontsize=7, color=colour)
    content = BytesIO()
    picture.savefig(content, format="png", dpi=90)
    return content.getvalue()
