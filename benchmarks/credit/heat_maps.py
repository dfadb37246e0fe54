"""Heat maps over `lambda_mix` and `alpha_clip`."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from stepopsd_agent.run.files import write_bytes_atomic

PER_LINE = 3


def draw_heat_maps(
    maps: Mapping[str, Sequence[Sequence[float]]], lambdas: Sequence[float], clips: Sequence[float], out: Path
) -> None:
    """Draw one map a title, three a line, with its figures in the cells.

    Args:
        maps: figures by title, a row for each of `lambdas`.
        lambdas: values of `lambda_mix`.
        clips: values of `alpha_clip`.
        out: PNG file to write.
    """
    from matplotlib.figure import Figure

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
    write_bytes_atomic(out, content.getvalue())
