"""``--agent human``: a person at a terminal, played by a pseudo-terminal."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from stepopsd_wrappers import read_episodes
from tests.helpers.runs import ROOT, environment

GAMES = ["--agent=human", "--env.tier=tiny", "--env.step_limit=2", "--eval.num_games=2"]
PATIENCE_S = 120.0


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self._end, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stepopsd_agent", *arguments],
            cwd=ROOT,
            env={**environment(), "TERM": "dumb", "COLUMNS": "100"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)
        self.shown = ""

    def read_until(self, text: str) -> str:
        """What is shown until this text, and no further."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            try:
                self.shown += os.read(self._end, 4096).decode().replace("\r\n", "\n")
            except OSError:  # the command has ended
                raise AssertionError(f"{text!r} is not in {self.shown}") from None
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, line: str) -> None:
        """A line and the return key."""
        os.write(self._end, f"{line}\n".encode())

    def finish(self) -> int:
        """Wait for the end; its exit code."""
        try:
            while part := os.read(self._end, 4096):
                self.shown += part.decode().replace("\r\n", "\n")
        except OSError:
            pass
        os.close(self._end)
        return self.process.wait(PATIENCE_S)


def test_human_plays_leaves_and_goes_on(tmp_path: Path) -> None:
    """Commands by number and text, the history, a wrong number; after leaving, what is missing is played."""
    out = tmp_path / "out"
    terminal = Terminal("eval", *GAMES, f"--out={out}")
    shown = terminal.read_until("> ")
    assert "-= Welcome to TextWorld, ALFRED! =-" in shown and "Your task is to: " in shown
    assert "1: go to " in shown
    terminal.type("999")
    assert "there is no command 999; give a number from 1 to " in terminal.read_until("> ")
    terminal.type("-1")
    assert "there is no command -1" in terminal.read_until("> ")
    terminal.type(":help")
    assert "there is no :help; :history shows" in terminal.read_until("> ")
    terminal.type("1")
    terminal.read_until("You arrive at ")
    terminal.read_until("> ")
    terminal.type(":history")
    history = terminal.read_until("\n[")
    assert "> go to " in history and "You arrive at " in history
    terminal.read_until("> ")
    terminal.type("dance")
    assert "not won, 2 steps" in terminal.read_until("Welcome")
    terminal.read_until("> ")
    terminal.type(":quit")
    terminal.read_until(f"go on with: stepopsd eval --resume {out}")
    assert terminal.finish() == 1

    terminal = Terminal("eval", f"--resume={out}")
    for command in ("look", "inventory"):
        terminal.read_until("> ")
        terminal.type(command)
    terminal.read_until("human agent: success 0.0% of 2 games")
    assert terminal.finish() == 0
    actions = [[step.action for step in episode.steps[1:]] for episode in read_episodes(out / "episodes")]
    assert len(actions) == 2 and actions[0][0].startswith("go to ") and actions[0][1] == "dance"
    assert actions[1] == ["look", "inventory"]
    assert json.loads((out / "evaluation.json").read_text())["n"] == 2


def test_human_is_asked_through_a_pipe_and_leaves_at_its_end(tmp_path: Path) -> None:
    """The end of the input is no answer: the evaluation is left, and can go on."""
    done = subprocess.run(
        [sys.executable, "-m", "stepopsd_agent", "eval", *GAMES, f"--out={tmp_path / 'out'}"],
        cwd=ROOT,
        env=environment(),
        input="look\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "stepopsd eval --resume" in done.stderr
    assert (tmp_path / "out" / "evaluation.json").exists()
