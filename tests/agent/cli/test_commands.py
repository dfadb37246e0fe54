"""Commands that play: record, replay, eval, play; and what a full disk does to them."""

import errno
import io
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepopsd_envs.alfworld.generator import VERSIONS
from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import TINY, record, refusal, run
from tests.helpers.runs import ROOT, draw_until, environment, stepopsd, train_arguments


def test_commands_record_then_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Episodes replay; a changed one is found, named and gives exit code 1."""
    record(tmp_path / "out")
    assert capsys.readouterr().out.endswith(f"stepopsd replay {tmp_path / 'out'}\n")
    assert run("replay", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == "3/3 episodes replay identically\n"

    path = tmp_path / "out" / "episodes-00000.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    changed = json.loads(lines[1])
    changed["steps"][2]["observation"] += " A cat walks by."
    path.write_text(lines[0] + json.dumps(changed) + "\n" + lines[2])
    (tmp_path / "out" / "manifest.json").unlink()
    assert run("replay", str(tmp_path / "out")) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("episode 2, generated/tiny/train/1") and "A cat walks by." in first
    assert last == "2/3 episodes replay identically"


def test_commands_replay_names_a_changed_manifested_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its manifest a changed file is not even taken for a record."""
    record(tmp_path / "out")
    path = tmp_path / "out" / "episodes-00000.jsonl"
    path.write_text(path.read_text().replace('"seed":', '"seed": '))
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("tail", [b'{"schema": "stepopsd.epi', b"\0\0\0\0"])
def test_commands_replay_passes_over_a_torn_end(
    tail: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed recorder left: one warning, and the whole episodes replay."""
    record(tmp_path / "out")
    with (tmp_path / "out" / "episodes-00000.jsonl").open("ab") as file:
        file.write(tail)
    (tmp_path / "out" / "manifest.json").unlink()
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 0
    out, err = capsys.readouterr()
    assert out == "3/3 episodes replay identically\n"
    assert [line for line in err.splitlines() if line.startswith("stepopsd: warning: ")]


def test_commands_replay_names_a_line_torn_in_the_middle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is damage, not a kill: file and line are named."""
    record(tmp_path / "out")
    path = tmp_path / "out" / "episodes-00000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:100] + b"\n" + lines[2])
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 2
    assert f"stepopsd: error: {path} line 2" in capsys.readouterr().err


def test_commands_replay_of_no_episodes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder, and an empty file in it."""
    assert str(tmp_path) in refusal(capsys, "replay", str(tmp_path))
    (tmp_path / "episodes-00000.jsonl").touch()
    assert "holds no whole episode" in refusal(capsys, "replay", str(tmp_path))


@pytest.mark.samples
def test_commands_record_by_the_model_and_again(taught_model: Path, tmp_path: Path) -> None:
    """More episodes than games: they begin again, with other noise; equal seeds give equal files."""
    flags = [
        *TINY,
        "--env.num_games=2",
        "--rollout.max_tokens=12",
        "--eval.temperature=1",
        f"--model.path={taught_model}",
    ]

    def recorded(seed: int, name: str = "a") -> Path:
        out = tmp_path / f"{name}-{seed}"
        assert run("record", "--episodes=5", f"--seed={seed}", *flags, "--out", str(out)) == 0
        episodes = sorted(read_episodes(out), key=lambda episode: episode.group)
        assert [episode.task_id[-1] for episode in episodes] == ["0", "1", "0", "1", "0"]
        assert all(step.tokens for episode in episodes for step in episode.steps[1:])
        return out

    def vary(out: Path) -> bool:
        episodes = [e for e in read_episodes(out) if e.task_id[-1] == "0"]
        return len({tuple(step.action for step in episode.steps) for episode in episodes}) == 3

    first = draw_until(recorded, vary)
    again = recorded(int(first.name.removeprefix("a-")), "b")
    file = "episodes-00000.jsonl"
    assert (first / file).read_bytes() == (again / file).read_bytes()
    assert run("replay", str(first)) == 0


def test_commands_replay_refuses_other_data_and_engines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line; another engine only until it is asked for."""
    record(tmp_path / "out")
    monkeypatch.setattr("stepopsd_envs.alfworld.versions.NATIVE_VERSION", 2)
    assert "recorded on engine 'native/1'" in refusal(capsys, "replay", str(tmp_path / "out"))
    assert run("replay", str(tmp_path / "out"), "--any_engine") == 0
    monkeypatch.undo()
    monkeypatch.setitem(VERSIONS, "tiny", 3)
    assert "recorded on data with fingerprint" in refusal(capsys, "replay", str(tmp_path / "out"))


@pytest.mark.samples
@pytest.mark.parametrize("agent", ["random", "expert", "oracle", "model"])
def test_commands_eval_prints_a_row_per_task_type(
    agent: str, taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same figures in evaluation.json, and the episodes beside it."""
    flags = ["--env.tier=tiny", "--env.step_limit=25", "--eval.num_games=6", "--rollout.max_tokens=8"]
    out = tmp_path / "out"
    assert run("eval", f"--agent={agent}", *flags, f"--model.path={taught_model}", f"--out={out}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == [
        "look_at_obj_in_light",
        "pick_and_place_simple",
        "pick_clean_then_place_in_recep",
        "pick_cool_then_place_in_recep",
        "pick_heat_then_place_in_recep",
        "pick_two_obj_and_place",
        "all",
    ]
    table = json.loads((out / "evaluation.json").read_text())
    assert table["n"] == len(list(read_episodes(out / "episodes"))) == 6
    assert f"{table['success']:.1%}" in lines[7]
    assert (table["success"] == 1.0) == (agent in ("expert", "oracle"))
    assert table["config"]["eval"]["num_games"] == 6
    episode = next(iter(read_episodes(out / "episodes")))
    assert (table["fingerprint"], table["engine_version"]) == (episode.fingerprint, "native/1")


def full_after(count: int) -> Callable[[int, Any], int]:
    """An `os.write` that finds the disk full after so many calls."""
    left, real_write = [count], os.write

    def write(descriptor: int, data: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    return write


def test_commands_record_on_a_full_disk_keeps_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the file; the episodes before replay."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after(2))
        assert run("record", "--agent=expert", "--episodes=4", *TINY, f"--out={out}") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "episodes-00000.jsonl: No space left" in line and "free some space" in line
    assert run("replay", str(out)) == 0
    assert capsys.readouterr().out == "2/2 episodes replay identically\n"


def test_commands_record_at_the_system_s_limit(tmp_path: Path) -> None:
    """The same from the system itself, in a process of its own."""
    out = tmp_path / "out"
    arguments = ["record", "--agent=expert", "--episodes=40", *TINY, f"--out={out}"]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    result = stepopsd(*arguments, preexec_fn=small_files)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr.splitlines()[-1]
    assert 0 < len(list(read_episodes(out))) < 40


def full_disk(*arguments: object) -> None:
    """A system call or a writer that finds the disk full at once."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.samples
@pytest.mark.parametrize(
    "writer",
    [
        "stepopsd_agent.run.files.model_folder._publish",
        "stepopsd_agent.run.files.checkpoint.save_file",
        "stepopsd_wrappers.episode_store._write",
    ],
)
def test_commands_train_on_a_full_disk_can_be_resumed(
    writer: str,
    taught_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First model, checkpoint or episodes: one line says where, --resume goes on from what was written."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(writer, full_disk)
        assert run(*train_arguments(taught_model, out)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "No space left" in line and str(tmp_path) in line
    assert run("train", "--resume", str(out)) == 0
    assert (out / "summary.json").exists()


def test_commands_play_from_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room, the commands as if typed, the answers; an unknown command does not end it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("?\ngo to cart 1\ndance\n"))
    assert run("play", "--env.tier=tiny", "--game=generated/tiny/train/0") == 0
    text = capsys.readouterr().out
    assert "You are in the middle of a room." in text and max(map(len, text.splitlines())) <= 100
    assert "\n> ?\ngo to bathtubbasin 1\n" in text
    assert "\n> go to cart 1\nYou arrive at cart 1." in text
    assert "\n> dance\nNothing happens.\n" in text
    assert text.endswith("Not done: 2 commands.\n")


def test_commands_play_to_the_goal_and_to_the_limit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A won game ends; one that runs into the limit says what limit."""
    won = ["go to bathtubbasin 1", "take dishsponge 1 from bathtubbasin 1", "go to cart 1"]
    won += ["move dishsponge 1 to cart 1", "look"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(won)))
    assert run("play", "--env.tier=tiny", "--game=generated/tiny/train/0") == 0
    assert capsys.readouterr().out.endswith("You did it: 4 commands.\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("look\n" * 5))
    assert run("play", "--env.tier=tiny", "--env.step_limit=2") == 0
    assert capsys.readouterr().out.endswith("Not done: 2 commands; the limit is 2 (env.step_limit).\n")


def test_commands_play_reads_bytes_that_are_no_text() -> None:
    """From a real pipe."""
    command = [sys.executable, "-m", "stepopsd_agent", "play", "--env.tier=tiny"]
    result = subprocess.run(
        command, input=b"\xff\xfe\x00\nlook\n", capture_output=True, env=environment(), cwd=ROOT, timeout=60
    )
    assert result.returncode == 0, result.stderr.decode()
    assert b"Nothing happens." in result.stdout


def test_commands_play_without_an_input_shows_the_task_and_ends() -> None:
    """Where it was closed before the command began, as some schedulers do."""
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m stepopsd_agent play --env.tier=tiny <&-"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.endswith("Not done: 0 commands.\n") and "Your task is to" in shown.stdout


def test_commands_play_names_the_limit_only_where_it_ended_the_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong answer ends a question at any turn."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("<answer>nobody</answer>\n"))
    assert run("play", "--env.id=stepopsd/SearchQA-v0", "--env.tier=tiny") == 0
    assert capsys.readouterr().out.endswith("Not done: 1 command.\n")
