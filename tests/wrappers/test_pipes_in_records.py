"""Named pipes in a folder of records: an error that names them, and no waiting."""

import os
from pathlib import Path

import pytest

from stepopsd_wrappers import EpisodeWriter, RecordingError, read_episodes
from stepopsd_wrappers.episode_store import LOCK
from stepopsd_wrappers.search_r1_import import read_search_r1
from stepopsd_wrappers.shards import MANIFEST
from tests.helpers.text_env import make_episode, shard

pytestmark = pytest.mark.timeout(60)


def piped(folder: Path, name: str) -> Path:
    """A folder of one episode in which a pipe that nobody writes to stands for this file."""
    with EpisodeWriter(folder) as writer:
        writer.append(make_episode(0))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    return folder


@pytest.mark.parametrize("name", [MANIFEST, shard(Path(), 0).name, shard(Path(), 1).name])
def test_read_episodes_refuses_a_pipe(tmp_path: Path, name: str) -> None:
    """In place of a shard, behind the last one, or as the manifest."""
    with pytest.raises(OSError, match="it is a named pipe"):
        list(read_episodes(piped(tmp_path, name)))


@pytest.mark.parametrize("name", [MANIFEST, LOCK, shard(Path(), 0).name, f"{shard(Path(), 1).name}.gz"])
def test_episode_writer_refuses_a_pipe(tmp_path: Path, name: str) -> None:
    """It neither waits for it nor writes into it."""
    with pytest.raises(RecordingError, match=f"{name}: it is a named pipe"):
        EpisodeWriter(piped(tmp_path, name))


def test_import_refuses_a_pipe(tmp_path: Path) -> None:
    """Transcripts in the style of Search-R1."""
    os.mkfifo(tmp_path / "rollouts.jsonl")
    with pytest.raises((OSError, ValueError), match="it is a named pipe"):
        list(read_search_r1(tmp_path / "rollouts.jsonl"))
