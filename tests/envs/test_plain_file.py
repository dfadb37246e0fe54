"""Where a file is expected stands a named pipe, a socket, a device or a folder: an error, and no waiting."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.official import find_files, list_folder, require_playable
from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.json_lines import read_rows
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.bm25 import FILES, SETTINGS_FILE, Bm25
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError
from stepopsd_envs.search_qa.retrieval.index import build_index, open_index
from stepopsd_envs.search_qa.retrieval.index_folder import LOCK, MANIFEST
from tests.helpers.alfworld_games import write_game

pytestmark = pytest.mark.timeout(60)


def pipe(path: Path) -> None:
    """A named pipe that nobody writes to."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def listen(path: Path) -> None:
    """A socket; its name may be 100 characters long at most, so it is made elsewhere."""
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


KINDS: dict[str, Callable[[Path], None]] = {
    "a named pipe": pipe,
    "a socket": listen,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", KINDS)
def test_plain_file_names_what_stands_there(tmp_path: Path, kind: str) -> None:
    """And what to do; a file, a link to one and, where it is to be made, nothing are let through."""
    KINDS[kind](tmp_path / "x")
    for missing_ok in (False, True):
        with pytest.raises(OSError, match=f"it is {kind}; put a file there"):
            plain_file(tmp_path / "x", missing_ok)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    assert plain_file(str(tmp_path / "link")) == tmp_path / "link"
    assert plain_file(tmp_path / "new", missing_ok=True) == tmp_path / "new"
    with pytest.raises(FileNotFoundError):
        plain_file(tmp_path / "new")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a folder"])
def test_games_that_are_no_files_are_damaged_ones(tmp_path: Path, kind: str) -> None:
    """In a folder of games and by name; the others are listed as ever."""
    game = write_game(tmp_path)
    other = game.parents[1] / "trial_2" / game.name
    other.parent.mkdir()
    KINDS[kind](other)
    assert [Path(file.path) for file in list_folder(tmp_path)] == [game, other]
    for games in (tmp_path, other):
        with pytest.raises(GameFileError, match=f"it is {kind}") as raised:
            require_playable(find_files(games))
        assert raised.value.path == str(other)
        with pytest.raises(GameFileError, match=f"it is {kind}"):
            gym.make("stepopsd/ALFWorld-v0", games=str(games))


def test_a_game_that_becomes_a_pipe_is_refused_when_it_is_played(tmp_path: Path) -> None:
    """It was listed as a file."""
    game = write_game(tmp_path)
    env = gym.make("stepopsd/ALFWorld-v0", games=str(tmp_path))
    pipe(game)
    with pytest.raises(GameFileError, match="it is a named pipe"):
        env.reset(seed=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.xz"])
def test_rows_of_what_is_no_file_are_refused(tmp_path: Path, kind: str, suffix: str) -> None:
    """Questions and passages alike."""
    path = tmp_path / f"rows{suffix}"
    KINDS[kind](path)
    with pytest.raises(ValueError, match=f"cannot be read: it is {kind}"):
        list(read_rows(path))


@pytest.mark.parametrize("name", ["corpus", "questions"])
def test_search_qa_refuses_a_pipe(tmp_path: Path, name: str) -> None:
    """In place of its corpus or questions."""
    (tmp_path / "questions.jsonl").write_text('{"id": 1, "question": "Who?", "golden_answers": ["Ada"]}\n')
    (tmp_path / "corpus.jsonl").write_text('{"id": 1, "text": "Ada."}\n')
    pipe(tmp_path / f"{name}.jsonl")
    files: dict[str, Any] = {name: str(tmp_path / f"{name}.jsonl") for name in ("corpus", "questions")}
    with pytest.raises((ValueError, OSError), match=rf"{name}\.jsonl"):
        gym.make("stepopsd/SearchQA-v0", retriever="bm25", **files)


@pytest.mark.parametrize("name", [*FILES, SETTINGS_FILE])
def test_bm25_refuses_a_folder_with_a_pipe(tmp_path: Path, name: str) -> None:
    """As one that is not complete."""
    Bm25([Passage("a", "", "Hills.")]).save(tmp_path)
    pipe(tmp_path / name)
    with pytest.raises(ValueError, match="complete"):
        Bm25.load(tmp_path)


@pytest.mark.parametrize("name", [MANIFEST, LOCK])
def test_index_folders_with_a_pipe_are_refused(tmp_path: Path, name: str) -> None:
    """Opened or built over."""
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": 1, "text": "Ada."}) + "\n")
    build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    pipe(tmp_path / "index" / name)
    with pytest.raises((IndexFolderError, OSError)):
        build_index(tmp_path / "corpus.jsonl", tmp_path / "index")
    if name == MANIFEST:
        with pytest.raises(IndexFolderError):
            open_index(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
