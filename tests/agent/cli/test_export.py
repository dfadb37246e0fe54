"""``stepopsd export``: which episodes are written, and what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stepopsd_envs.extras import install_command
from stepopsd_wrappers import Episode, EpisodeWriter
from tests.helpers.command_line import refusal, run
from tests.helpers.text_env import make_episode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with a lost, a won and a failed episode."""
    with EpisodeWriter(tmp_path / "run" / "episodes") as writer:
        for episode in (make_episode(0), won(make_episode(1)), failed(make_episode(2))):
            writer.append(episode)
    return tmp_path / "run"


def won(episode: Episode) -> Episode:
    """The same, won at the last step."""
    last = episode.steps[-1]
    return replace(episode, steps=(*episode.steps[:-1], replace(last, info={**last.info, "won": True})))


def failed(episode: Episode) -> Episode:
    """The same with an error at the last step."""
    last = replace(episode.steps[-1], error="ValueError: broken", info={})
    return replace(episode, steps=(*episode.steps[:-1], last))


def test_export_writes_chats(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the failed one; with --won the won one alone."""
    out = tmp_path / "new" / "chats.jsonl"
    assert run("export", str(folder), "--to=sft", f"--out={out}", "--system=Play.") == 0
    assert f"2 of 3 episodes written to {out}" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["success"] for row in rows] == [False, True]
    assert rows[0]["messages"][0] == {"role": "system", "content": "Play."}
    assert run("export", str(folder), "--to=sft", "--won", f"--out={tmp_path / 'won.jsonl'}") == 0
    (row,) = (tmp_path / "won.jsonl").read_text().splitlines()
    assert json.loads(row)["success"] is True


def test_export_refuses_what_it_cannot_do(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line each, and no file is left."""
    out = tmp_path / "out"
    arguments = ["export", str(folder), f"--out={out}"]
    assert "stepopsd export needs --to (sft, parquet" in refusal(capsys, *arguments)
    assert "parquet has no messages" in refusal(capsys, *arguments, "--to=parquet", "--system=Play.")
    assert "end it in a version" in refusal(capsys, *arguments, "--to=minari")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert install_command("export") in refusal(capsys, *arguments, "--to=parquet")
    with EpisodeWriter(tmp_path / "lost") as writer:
        writer.append(make_episode(0))
    line = refusal(capsys, "export", str(tmp_path / "lost"), "--to=sft", "--won", f"--out={out}")
    assert "holds 1 episodes, and none that reached the goal" in line and not out.exists()
    assert "is there already" in refusal(capsys, "export", str(folder), "--to=sft", f"--out={folder}")
