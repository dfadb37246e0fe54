"""The figures of the credit benchmark as a picture: how well each method ranks steps, stage by stage."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from stepopsd_agent.run.files import write_bytes_atomic

PANELS = (("auc_failed", "in lost episodes"), ("auc_won", "in won episodes"))
COLOURS = {"start": "C0", "middle": "C1", "end": "C2"}


def draw(stages: Mapping[str, Any], title: str, out: Path) -> None:
    """Draw a point with its interval for every method, control and stage.

    Args:
        stages: tables of one task set, by stage.
        title: over the picture.
        out: PNG file to write.
    """
    from matplotlib.figure import Figure

    first = next(iter(stages.values()))
    rows = {**first["controls"], **first["methods"]}
    order = sorted(rows, key=lambda name: rows[name]["auc_failed"]["value"])
    picture = Figure(figsize=(12, 1.2 + 0.27 * len(order)), layout="constrained")
    for axes, (key, label) in zip(picture.subplots(1, 2, sharey=True), PANELS, strict=True):
        for offset, (stage, table) in enumerate(stages.items()):
            found = {**table["controls"], **table["methods"]}
            for place, name in enumerate(order):
                one = found[name][key]
                if one["n"]:
                    y = place + 0.22 * (1 - offset)
                    axes.plot([one["low"], one["high"]], [y, y], color=COLOURS[stage], lw=1.5)
                    axes.plot(one["value"], y, "o", color=COLOURS[stage], ms=3.5)
        axes.axvline(0.5, color="grey", lw=0.8, ls=":")
        axes.set(xlim=(0.25, 1.02), xlabel=f"chance that a forward step has more credit, {label}")
        axes.grid(axis="x", alpha=0.25)
    left = picture.axes[0]
    left.set_yticks(range(len(order)), [_label(name, first) for name in order], fontsize=8)
    for tick, name in zip(left.get_yticklabels(), order, strict=True):
        tick.set_color("grey" if name in first["controls"] else "black")
        tick.set_fontweight("bold" if name.startswith("path_gain") else "normal")
    for stage, colour in COLOURS.items():
        if stage in stages:
            text = f"{stage} of training, success {stages[stage]['success']:.0%}"
            left.plot([], [], "o-", color=colour, label=text)
    left.legend(loc="lower right", fontsize=8)
    picture.suptitle(title)
    image = BytesIO()
    picture.savefig(image, format="png", dpi=90)
    write_bytes_atomic(out, image.getvalue())


def _label(name: str, table: Mapping[str, Any]) -> str:
    return f"control: {name}" if name in table["controls"] else name
