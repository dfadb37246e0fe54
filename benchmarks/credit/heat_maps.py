"""Heat maps over `lambda_mix` and `alpha_clip`."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

PER_LINE = 3


def maps_of(result: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """Maps by title: AUC in lost and in won episodes, share of credit moved, and learning if there is any."""
    maps = {}
    for stage, found in result["stages"].items():
        for key, label in (("auc_failed", "AUC, lost"), ("auc_won", "AUC, won")):
            maps[f"{stage} of training: {label}"] = [
                [cell[key]["value"] for cell in cells] for cells in found["grid"]
            ]
        maps[f"{stage} of training: share of credit moved"] = [
            [cell["moved"] for cell in cells] for cells in found["grid"]
        ]
    if result.get("learning"):
        maps["area under the learning curve"] = np.mean(result["learning"]["area"], axis=-1).tolist()
    return maps


def draw_heat_maps(result: Mapping[str, Any]) -> bytes:
    """A PNG with the maps of a result of `two_knobs`, three per line, with the values in the cells."""
    from matplotlib.figure import Figure

    maps, lambdas, clips = maps_of(result), result["lambda_mix"], result["alpha_clip"]
    lines = -(-len(maps) // PER_LINE)
    picture = Figure(figsize=(4 * min(len(maps), PER_LINE), 3.4 * lines), layout="constrained")
    panels = picture.subplots(lines, min(len(maps), PER_LINE), squeeze=False).flatten()
    for axes in panels[len(maps) :]:
        axes.remove()
    for axes, (title, figures) in zip(panels, maps.items(), strict=False):
        image = axes.imshow(figures, cmap="viridis", origin="lower", aspect="auto")
        axes.set(title=title, xlabel="alpha_clip", ylabel="lambda_mix")
        axes.set_xticks(range(len(clips)), [f"{clip:g}" for clip in clips])
        axes.set_yticks(range(len(lambdas)), [f"{share:g}" for share in lambdas])
        low, high = image.get_clim()
        for y, line in enumerate(figures):
            for x, figure in enumerate(line):
                colour = "black" if figure > (low + high) / 2 else "white"
                axes.text(x, y, f"{figure:.3f}", ha="center", va="center", fontsize=7, color=colour)
    content = BytesIO()
    picture.savefig(content, format="png", dpi=90)
    return content.getvalue()
