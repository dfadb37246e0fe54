"""Texts as a terminal shows them, and a game played at one."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepopsd_envs.rendering import WIDEST, for_terminal, in_columns

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 30 columns."""
    monkeypatch.setenv("COLUMNS", "30")


def test_for_terminal_wraps_and_keeps_numbers_with_their_names() -> None:
    """The blank lines of the text stay."""
    text = "You see a coffeemachine 1, a drawer 12, and a safe 3.\n\nYour task is to: find it."
    expected = [
        "You see a coffeemachine 1, a",  # 28 columns; "drawer" would fit into 35
        "drawer 12, and a safe 3.",
        "",
        "Your task is to: find it.",
    ]
    assert for_terminal(text).split("\n") == expected
    # "drawer" would end in column 30, but its number in column 33
    assert for_terminal("You see a small cup 1 by drawer 12.") == "You see a small cup 1 by\ndrawer 12."


def test_for_terminal_escapes_what_a_terminal_obeys_or_cannot_show() -> None:
    """Escape sequences, surrogates, and what the encoding of the terminal lacks."""
    assert for_terminal("a\x1b[2J\r\x00\ud800\u00a0b") == "a\\x1b[2J\\r\\x00\\ud800\\xa0b"
    assert for_terminal("caf\u00e9 \u4e2d", "latin-1") == "caf\u00e9 \\u4e2d"


def test_for_terminal_uses_no_more_columns_than_read_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """However wide the terminal."""
    monkeypatch.setenv("COLUMNS", "500")
    lines = for_terminal("word " * 200).split("\n")
    assert WIDEST - 5 < max(map(len, lines)) <= WIDEST


def test_in_columns_fills_the_width_column_by_column() -> None:
    """As many as fit, at least one."""
    # 3 columns of 8 + 2 fit into 30
    assert in_columns(["go one", "go two", "go three", "help", "look"]) == (
        "go one    go three  look\ngo two    help"
    )
    assert in_columns(["x" * 40, "y"]) == f"{'x' * 40}\ny"
    assert in_columns([]) == ""


def test_play_at_a_terminal_keeps_task_and_limit_in_sight() -> None:
    """What was typed is not printed again; the tab key completes; a slip is named as one."""
    command = [
        sys.executable,
        "-m",
        "stepopsd_agent",
        "play",
        "--env.tier=tiny",
        "--env.step_limit=3",
    ]
    shown = at_terminal(command, ["?", "inv\t", "dance", "look"])
    assert "Your task is to: " in shown and "3 steps left]" in shown
    assert "inventory" in shown and "> inventory\nYou are not carrying anything." in shown
    assert "> dance\nNothing happens.\n" in shown
    assert "1 step left; that" in shown
    assert shown.endswith("Not done: 3 commands; the limit is 3 (env.step_limit).\n")


def at_terminal(command: list[str], lines: list[str]) -> str:
    """What a terminal shows while these lines are typed, each at its prompt."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "TERM": "dumb", "INPUTRC": os.devnull}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, close_fds=True
    ) as process:
        os.close(theirs)
        shown = ""
        for line in lines:
            shown += read_until_prompt(ours)
            os.write(ours, f"{line}\n".encode())
        shown += read_until_prompt(ours)
        assert process.wait(60) == 0, shown
    os.close(ours)
    return shown.replace("\r\n", "\n")


def read_until_prompt(terminal: int, patience: float = 60) -> str:
    """What is shown until the next prompt, or the end."""
    shown = b""
    deadline = time.monotonic() + patience
    while not shown.endswith(b"\n> ") and time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
    return shown.decode()
