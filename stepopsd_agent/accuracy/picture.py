"""Credit accuracy as a picture: how well each method and control ranks steps."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

PANELS = (
    ("auc_failed", "in lost episodes"),
    ("auc_won", "in won episodes"),
    ("auc_unmixed", "in unmixed groups"),
)
TWO_PANELS = 2


def draw_accuracy(tables: Mapping[str, Any], title: str, emphasised: str = "") -> bytes:
    """A PNG with a point and its interval for every method, control and table.

    Unmixed groups, without both outcomes, are shown only if there are no mixed ones.

    Args:
        tables: with rows of `controls` and `methods`, by what the legend calls them.
        title: of the picture.
        emphasised: prefix of the names that are set in bold.
    """
    from matplotlib.figure import Figure

    first = next(iter(tables.values()))
    rows = {**first["controls"], **first["methods"]}
    order = sorted(
        rows, key=lambda name: (rows[name]["auc_failed"]["value"], rows[name]["auc_unmixed"]["value"])
    )
    mixed = any(figure["auc_failed"]["n"] or figure["auc_won"]["n"] for figure in rows.values())
    panels = PANELS[:TWO_PANELS] if mixed else PANELS[TWO_PANELS:]
    picture = Figure(figsize=(3 + 4.5 * len(panels), 1.2 + 0.27 * len(order)), layout="constrained")
    for axes, (key, label) in zip(
        picture.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        for offset, table in enumerate(tables.values()):
            judged = {**table["controls"], **table["methods"]}
            for place, name in enumerate(order):
                figure = judged[name][key]
                if figure["n"]:
                    y = place + 0.22 * ((len(tables) - 1) / 2 - offset)
                    axes.plot([figure["low"], figure["high"]], [y, y], color=f"C{offset}", lw=1.5)
                    axes.plot(figure["value"], y, "o", color=f"C{offset}", ms=3.5)
        axes.axvline(0.5, color="grey", lw=0.8, ls=":")
        axes.set(xlabel=f"chance that a forward step has more credit, {label}")
        axes.set_xlim(min(0.25, axes.get_xlim()[0]), 1.02)
        axes.grid(axis="x", alpha=0.25)
    left = picture.axes[0]
    names = [f"control: {name}" if name in first["controls"] else name for name in order]
    left.set_yticks(range(len(order)), names, fontsize=8)
    for tick, name in zip(left.get_yticklabels(), order, strict=True):
        tick.set_color("grey" if name in first["controls"] else "black")
        tick.set_fontweight("bold" if emphasised and name.startswith(emphasised) else "normal")
    for offset, (label, table) in enumerate(tables.items()):
        left.plot([], [], "o-", color=f"C{offset}", label=f"{label}, success {table['success']:.0%}")
    left.legend(loc="lower right", fontsize=8)
    picture.suptitle(title)
    image = BytesIO()
    picture.savefig(image, format="png", dpi=90)
    return image.getvalue()
