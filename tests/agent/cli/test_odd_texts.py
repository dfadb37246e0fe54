"""Texts that the terminal cannot show: an agent's error may quote anything."""

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stepopsd_agent.cli.errors import exit_code, quiet_when_unread
from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import TINY, record, refusal, run
from tests.helpers.runs import environment

AGENT = """
class Odd:
    def reset(self, seed, observation, info): pass
    def act(self, observation, info): raise ValueError("\\x1b[2J half a pair \\ud800, snow \\u2603")
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_error_of_an_agent_does_not_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """It is shown as far as it can be, the results are written, and the command says how to go on."""
    (tmp_path / "odd_of_a_test.py").write_text(AGENT)
    monkeypatch.syspath_prepend(tmp_path)
    raw, out = io.BytesIO(), tmp_path / "out"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert run("eval", "--agent=odd_of_a_test:Odd", *TINY, "--eval.num_games=2", f"--out={out}") == 1
    sys.stdout.flush()
    assert rb"half a pair \ud800, snow" in raw.getvalue() and b"written to" in raw.getvalue()
    assert b"\x1b" not in raw.getvalue()  # nor may it control the terminal
    assert json.loads((out / "evaluation.json").read_text())["errors"] == 2
    assert all("\ud800" in str(episode.steps[-1].error) for episode in read_episodes(out / "episodes"))


def test_an_error_that_ends_the_command_controls_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may quote what a server answered, or what somebody's module raised."""
    (tmp_path / "loud_of_a_test.py").write_text('raise ValueError("\\x1b[2J\\u202e caf\\xe9")')
    monkeypatch.syspath_prepend(tmp_path)
    assert run("eval", "--agent=loud_of_a_test:Odd", *TINY) == 2
    assert "raised ValueError: \\x1b[2J\\u202e caf\xe9\n" in capsys.readouterr().err


def test_advice_can_be_copied_where_a_folder_has_a_blank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name is quoted, so that a shell gives the next command one word."""
    folder, played = tmp_path / "my games", tmp_path / "it's mine"
    record(folder)
    assert run(*_advised(capsys.readouterr().out, "check them with: stepopsd ")) == 0
    evaluation = ["eval", "--agent=random", *TINY, "--eval.num_games=2", f"--out={played}"]
    assert run(*evaluation) == 0
    assert run(*_advised(refusal(capsys, *evaluation), "continue it with: stepopsd ")) == 0


def _advised(text: str, before: str) -> list[str]:
    """The words of the command behind these, to the end of the line, as a shell splits them."""
    return shlex.split(text.partition(before)[2].partition("\n")[0])


def test_eval_writes_its_figures_before_it_prints_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the table may have left, as `head` does."""
    read, written = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "stdout", os.fdopen(written, "w"))
    assert run("eval", "--agent=random", *TINY, "--eval.num_games=2", f"--out={tmp_path / 'out'}") == 141
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["n"] == 2


@pytest.mark.parametrize("arguments", [["credit", "list"], ["view", "--help"], ["view", "games", "--text"]])
def test_commands_end_without_a_word_where_nobody_reads(tmp_path: Path, arguments: list[str]) -> None:
    """As before `head`; a pipe of the command's own that breaks is an error as ever."""
    record(tmp_path / "games")
    command = [sys.executable, "-m", "stepopsd_agent", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment(), cwd=tmp_path) as left:
        assert left.stdout is not None and left.stderr is not None
        left.stdout.close()
        assert left.stderr.read() == b""
    assert left.returncode == 141 or "--help" in arguments  # argparse takes no notice


def test_a_broken_pipe_that_is_not_the_output_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Such as that to a server that has ended."""

    def broken() -> int:
        raise BrokenPipeError(32, "Broken pipe")

    assert quiet_when_unread(lambda: exit_code(broken)) == 2
    assert capsys.readouterr().err == "stepopsd: error: Broken pipe\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_once() -> None:
    """Not again for what could not be written before."""
    command = [sys.executable, "-m", "stepopsd_agent", "credit", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert (done.returncode, done.stderr) == (2, "stepopsd: error: No space left on device\n")
