"""Makes the texts of an environment readable in a terminal, whatever they hold."""

import re
import shutil
import textwrap

WIDEST = 100  # of lines; longer ones are hard to read
_NUMBER = re.compile(r" (?=\d+\b)")
_BOUND = "\u00a0"


def for_terminal(text: str, encoding: str = "utf-8") -> str:
    """The text wrapped between words; what a terminal would obey or cannot show is escaped.

    A number stays on the line of the word before it: "drawer 2" is one name.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines = [_wrapped(_printable(line), width) for line in text.split("\n")]
    return "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)


def in_columns(entries: list[str]) -> str:
    """The entries in as many columns as the terminal has room for, to be read column by column."""
    if not entries:
        return ""
    width = max(map(len, entries)) + 2
    columns = max(1, shutil.get_terminal_size().columns // width)
    rows = -(-len(entries) // columns)
    lines = ["".join(entry.ljust(width) for entry in entries[row::rows]).rstrip() for row in range(rows)]
    return "\n".join(lines)


def _printable(line: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    bound = _NUMBER.sub(_BOUND, line)
    return textwrap.fill(bound, width, break_on_hyphens=False).replace(_BOUND, " ")
