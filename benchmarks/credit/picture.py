"""The figures of the credit benchmark as a picture: how well each method ranks steps, stage by stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepopsd_agent.accuracy import draw_accuracy
from stepopsd_agent.run.files import write_bytes_atomic


def draw(stages: Mapping[str, Any], title: str, out: Path) -> None:
    """Draw a point with its interval for every method, control and stage.

    Args:
        stages: tables of one task set, by stage.
        title: of the picture.
        out: PNG file to write.
    """
    tables = {f"{stage} of training": table for stage, table in stages.items()}
    write_bytes_atomic(out, draw_accuracy(tables, title, emphasised="path_gain"))
