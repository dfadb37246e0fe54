"""Make any text of an environment readable in a terminal."""

import re
import shutil
import textwrap

WIDEST = 100  # characters in a line; longer lines are hard to read
_NUMBER = re.compile(r" (?=\d+\b)")
_BOUND = "\u00a0"


def for_terminal(text: str, encoding: str = "utf-8") -> str:
    """The text, wrapped between words, with control characters and characters outside ``encoding`` escaped.

    A number stays on the same line as the word before it: "drawer 2" is one name.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines = [_wrapped(printable(line), width) for line in text.split("\n")]
    return "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)


def in_columns(entries: list[str]) -> str:
    """The entries in as many columns as fit the terminal, in column-by-column order."""
    if not entries:
        return ""
    width = max(map(len, entries)) + 2
    columns = max(1, shutil.get_terminal_size().columns // width)
    rows = -(-len(entries) // columns)
    lines = ["".join(entry.ljust(width) for entry in entries[row::rows]).rstrip() for row in range(rows)]
    return "\n".join(lines)


def printable(line: str) -> str:
    """The line with control characters, and others that show nothing, escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    bound = _NUMBER.sub(_BOUND, line)
    return textwrap.fill(bound, width, break_on_hyphens=False).replace(_BOUND, " ")
