"""A transcript as a picture of fixed size, as Gymnasium's video wrappers take it."""

import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from stepopsd_envs.rendering import printable
from stepopsd_envs.step_info import StepInfo

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 960, 640  # pixels; even, as video encoders want them
MARGIN, LINE, SIZE = 28, 20, 15
COLUMNS = 99  # characters of a line at this size
ROWS = (HEIGHT - 2 * MARGIN) // LINE - 2  # above the status line and its gap
BACKGROUND, BAR = (22, 25, 31), (33, 38, 47)
PAST, PAST_COMMAND = (139, 147, 160), (178, 145, 87)
NEWEST, COMMAND = (232, 235, 240), (255, 190, 92)
STATUS, SUCCESS = (154, 190, 255), (126, 211, 133)


def episode_picture(
    transcript: str, step: StepInfo, remaining: int, task_id: str, *, won: bool
) -> NDArray[np.uint8]:
    """The end of an episode's transcript, with the number of the step, the end and the task below.

    Args:
        transcript: of the episode so far, which ends with the observation of ``step``.
        step: the last one.
        remaining: steps until the limit.
        task_id: shown in the status line.
        won: whether the episode is a success.

    Returns:
        [HEIGHT, WIDTH, 3], as `picture` draws it.
    """
    index = step["index"]
    begun = step["action_start"] - len("> ") if index else 0
    past = transcript[: begun - len("\n")] if index else ""
    ended = "  won" if won else "  ended" if step["terminal"] or not remaining else ""
    status = f"step {index} of {index + remaining}{ended}  {task_id}"
    return picture(past, transcript[begun:], status, won=won)


def picture(past: str, newest: str, status: str, *, won: bool = False) -> NDArray[np.uint8]:
    """The end of a transcript: what came before in grey, the newest exchange bright, a status line below.

    Args:
        past: the transcript before the last exchange.
        newest: the last command and its answer, or the opening text.
        status: of the episode, on one line.
        won: colour the status line as a success.

    Returns:
        [HEIGHT, WIDTH, 3], 8 bits per colour.

    Raises:
        DependencyNotInstalled: Pillow or matplotlib, whose font is used, is not installed.
    """
    font, bold = _font("DejaVuSansMono.ttf"), _font("DejaVuSansMono-Bold.ttf")
    from PIL import Image, ImageDraw

    lines = [(text, PAST_COMMAND if command else PAST, font) for text, command in _lines(past)]
    lines += [(text, COMMAND, bold) if command else (text, NEWEST, font) for text, command in _lines(newest)]
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for row, (text, colour, face) in enumerate(lines[-ROWS:]):
        draw.text((MARGIN, MARGIN + row * LINE), text, fill=colour, font=face)
    top = HEIGHT - MARGIN - LINE
    draw.rectangle((0, top - 8, WIDTH, HEIGHT), fill=BAR)
    draw.text((MARGIN, top + 4), printable(status)[:COLUMNS], fill=SUCCESS if won else STATUS, font=bold)
    return np.asarray(image, dtype=np.uint8)


def _lines(text: str) -> list[tuple[str, bool]]:
    """The last lines as they fit the width, each with whether it belongs to a command."""
    lines: list[tuple[str, bool]] = []
    for line in text[-ROWS * COLUMNS * 2 :].split("\n"):
        command = line.startswith("> ")
        wrapped = textwrap.wrap(printable(line), COLUMNS, break_on_hyphens=False) or [""]
        lines += [(part, command) for part in wrapped]
    return lines[-ROWS:]


@lru_cache(maxsize=4)
def _font(file: str) -> "FreeTypeFont":
    """A font of fixed width that knows Latin, Greek, Cyrillic and many signs."""
    try:
        import matplotlib
        from PIL import ImageFont
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" takes Pillow and matplotlib: pip install pillow matplotlib'
        ) from error
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{file}", SIZE)
