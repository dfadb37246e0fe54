"""Input from a person and output to one, on a terminal or through a pipe."""

import io
import sys
from collections.abc import Sequence
from types import ModuleType

from stepopsd_envs.rendering import for_terminal, in_columns


def use_keyboard() -> None:
    """Replace bytes that cannot be decoded, so that they do not end a game."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def ask(commands: Sequence[str]) -> str | None:
    """Return the next line, or None at the end of input; a question mark from a pipe is echoed."""
    if sys.stdin is None:  # closed before the program began, as by `<&-`
        return None
    _complete(commands)
    try:
        line = input("> ").strip()
    except EOFError:
        print()
        return None
    if line == "?" and not is_typed():
        print(line)
    return line


def show(text: str) -> None:
    """Print a text of the environment."""
    print(for_terminal(text, sys.stdout.encoding or "utf-8"), flush=True)


def show_list(entries: Sequence[str]) -> None:
    """Print entries in columns on a terminal, else one per line."""
    lines = list(entries)
    print(in_columns(lines) if sys.stdout.isatty() else "\n".join(lines), flush=True)


def is_typed() -> bool:
    """Return whether the input is typed at a terminal, which shows it already."""
    return sys.stdin is not None and sys.stdin.isatty()


def completes() -> bool:
    """Return whether the tab key completes commands."""
    return _readline() is not None


def _complete(commands: Sequence[str]) -> None:
    """Let the tab key complete commands and the arrow keys recall them, if readline is available."""
    readline = _readline()
    if readline is None:
        return
    readline.set_completer_delims("")  # a command is more than its last word
    readline.set_completer(lambda text, number: [*(c for c in commands if c.startswith(text)), None][number])
    readline.parse_and_bind("tab: complete")


def _readline() -> ModuleType | None:
    """Import readline, which changes ``input``; None for a pipe, or a Python without it."""
    if not is_typed():
        return None
    try:
        import readline
    except ImportError:
        return None
    return readline
