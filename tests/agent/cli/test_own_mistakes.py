"""Mistakes of the program are not dressed up as those of its user."""

import json
from pathlib import Path

import pytest

from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import TINY, run


def test_cli_leaves_mistakes_of_the_program_their_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A ValueError that is nobody's input is not dressed up as one."""

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("stepopsd_agent.rollout.play_set_with", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        run("record", "--agent=random", *TINY, f"--out={tmp_path / 'out'}")


LEAVING = """
import asyncio
import sys

class Leaving:
    def reset(self, seed, observation, info): self.seed = seed
    def act(self, observation, info):
        if self.seed % 3 == 0:
            sys.exit(0)
        if self.seed % 3 == 1:
            raise SystemExit("no key")
        return "look"

class Interrupted(Leaving):
    def act(self, observation, info): raise KeyboardInterrupt

class Cancelled(Leaving):
    def act(self, observation, info): raise asyncio.CancelledError

class Beginning:
    def __init__(self, env): self.env = env
    def reset(self, seed, observation, info): self.env.reset(seed=seed)
    def act(self, observation, info): return "look"
"""


def _agents(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "leaving_agents_of_a_test.py").write_text(LEAVING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))


def test_cli_records_an_agent_that_leaves_as_an_error_of_its_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """sys.exit(0) would end the command as if all were well; the other episodes are played and count."""
    _agents(tmp_path, monkeypatch)
    out = tmp_path / "out"
    agent = "--agent=leaving_agents_of_a_test:Leaving"
    assert run("eval", agent, *TINY, "--eval.num_games=6", f"--out={out}") == 0
    shown = capsys.readouterr().out
    assert "success 0.0% of 2 games" in shown and "4 more episodes ended in an error" in shown
    errors = [episode.steps[-1].error or "" for episode in read_episodes(out / "episodes")]
    assert sorted(error.partition(" (")[0] for error in errors) == [
        "", "", *["the agent raised SystemExit: 0"] * 2, *["the agent raised SystemExit: no key"] * 2
    ]  # fmt: skip
    assert all("leaving_agents_of_a_test.py, line" in error for error in errors if error)


def test_cli_records_a_cancelled_task_of_asyncio_as_an_error_of_its_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no Exception to Python, and ended the evaluation."""
    _agents(tmp_path, monkeypatch)
    assert run("eval", "--agent=leaving_agents_of_a_test:Cancelled", *TINY, "--eval.num_games=2") == 1
    assert "all 2 games ended in an error" in (shown := capsys.readouterr().out)
    assert "the agent raised CancelledError" in shown


def test_cli_refuses_an_agent_that_begins_episodes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table would be about other games than those it names."""
    _agents(tmp_path, monkeypatch)
    assert run("eval", "--agent=leaving_agents_of_a_test:Beginning", *TINY, "--eval.num_games=2") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("stepopsd: error: the agent reset, stepped or closed the environment")


def test_cli_stops_at_once_where_an_agent_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is the user's, and no error of an episode."""
    _agents(tmp_path, monkeypatch)
    assert run("eval", "--agent=leaving_agents_of_a_test:Interrupted", *TINY, "--eval.num_games=6") == 1
    assert "stepopsd: stopped" in capsys.readouterr().err


def test_cli_says_so_where_other_code_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with its exit code and no word."""

    def leaving(*arguments: object, **options: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("stepopsd_agent.rollout.play_set_with", leaving)
    assert run("record", "--agent=random", *TINY, f"--out={tmp_path / 'out'}") == 2
    assert "test_own_mistakes.py, line" in (said := capsys.readouterr().err) and "calls sys.exit" in said


def test_cli_says_what_a_stopped_warm_start_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing before the model is cloned; then the model, without an evaluation."""
    command = ("warmstart", *TINY, "--warmstart.demonstrations=4", f"--out={tmp_path / 'model'}")

    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stepopsd_agent.run.warm_start.demonstrate", stopped)
        assert run(*command) == 1
    assert "nothing is kept before the model is cloned: run it again" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr("stepopsd_agent.run.warm_start.evaluate_policy", stopped)
    assert run(*command) == 1
    assert f"stepopsd eval --model.path {tmp_path / 'model'}" in capsys.readouterr().err
    assert "evaluation" not in json.loads((tmp_path / "model" / "warmstart.json").read_text())
    assert (tmp_path / "model" / "model.safetensors").is_file()
