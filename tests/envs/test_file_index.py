"""Indexes of files: read once, looked up later, and never out of date."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stepopsd_envs import file_index
from stepopsd_envs.file_index import FileIndex, Reader, digest_of, index_files, index_folder

MANY = file_index.SMALL + 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, on disk and in the process."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_index, "_remembered", {})
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that nobody has touched for a while."""
    for number in range(MANY):
        path = tmp_path / "data" / f"{number % 3}" / f"{number}.game"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"game {number}")
    (tmp_path / "data" / "notes.txt").write_text("no game")
    settle(monkeypatch)
    return tmp_path / "data"


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass: whatever was written so far was written long ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * file_index.COARSE_NS)


def restart() -> None:
    """Forget what only the process knows, as a new one would."""
    file_index._remembered.clear()


class Notes:
    """A reader that notes the first word of a file and which files it read."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.reader = Reader("words/1", self.note)

    def note(self, path: str, content: bytes) -> str:
        """The first word."""
        self.read.append(Path(path).name)
        return content.decode().partition(" ")[0]

    def index(self, folder: Path) -> FileIndex:
        """The index of the games below a folder."""
        self.read.clear()
        return index_folder(str(folder), ".game", self.reader)


def test_index_folder_lists_files_with_digests_and_notes(folder: Path) -> None:
    """Sorted by path, those of the suffix only."""
    index = Notes().index(folder)
    assert [file.path for file in index.files] == sorted(map(str, folder.rglob("*.game")))
    for file in index.files:
        content = Path(file.path).read_bytes()
        assert (file.size, file.digest, file.note) == (len(content), digest_of(content), "game")


def test_index_folder_reads_unchanged_files_once(folder: Path) -> None:
    """In this process the same object comes again; a later one finds all on disk."""
    notes = Notes()
    first = notes.index(folder)
    assert len(notes.read) == MANY
    assert notes.index(folder) is first
    restart()
    assert notes.index(folder).files == first.files
    assert not notes.read


@pytest.mark.parametrize("forget", [restart, lambda: None], ids=["new process", "same process"])
def test_index_folder_notices_every_change(
    folder: Path, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written over, of the same size with its old time put back, added, renamed, removed."""
    notes = Notes()
    notes.index(folder)
    paths = [str(path) for path in sorted(folder.rglob("*.game"))]
    changes: list[tuple[Callable[[], object], int]] = [
        (lambda: Path(paths[0]).write_text("another game, longer"), 1),
        (lambda: rewrite_quietly(paths[1]), 1),
        (lambda: (folder / "2" / "new.game").write_text("new"), 1),
        (lambda: os.rename(paths[2], f"{paths[2]}.game"), 1),
        (lambda: os.unlink(paths[3]), 0),
        (lambda: os.rename(folder / "1", folder / "renamed"), len(list((folder / "1").iterdir()))),
    ]
    for change, files in changes:
        change()
        settle(monkeypatch)
        forget()
        index = notes.index(folder)
        assert len(notes.read) == files
        assert [file.path for file in index.files] == sorted(map(str, folder.rglob("*.game")))
        assert all(file.digest == digest_of(Path(file.path).read_bytes()) for file in index.files)


def rewrite_quietly(path: str) -> None:
    """Other bytes, as many, and the time of modification as before."""
    stat, content = os.stat(path), Path(path).read_bytes()
    Path(path).write_bytes(content[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_index_folder_reads_fresh_files_again(tmp_path: Path) -> None:
    """What was written a moment before could be written again within the same tick of the clock."""
    for number in range(MANY):
        (tmp_path / f"{number}.game").write_text("game")
    notes = Notes()
    for _ in range(2):
        notes.index(tmp_path)
        assert len(notes.read) == MANY


def test_index_folder_tells_every_file_as_progress(folder: Path) -> None:
    """Read or looked up."""
    calls: list[int] = []
    for times in (1, 2):
        index_folder(str(folder), ".game", Notes().reader, lambda: calls.append(1))
        assert len(calls) == times * MANY


def test_index_folder_refuses_a_folder_it_cannot_look_into(tmp_path: Path) -> None:
    """Passing over it would leave games out without a word."""
    with pytest.raises(FileNotFoundError, match="absent"):
        Notes().index(tmp_path / "absent")


def test_index_files_keeps_the_order_given(folder: Path) -> None:
    """And reads each once."""
    notes = Notes()
    paths = [str(path) for path in sorted(folder.rglob("*.game"), reverse=True)]
    for expected in (MANY, 0):
        notes.read.clear()
        assert [file.path for file in index_files(paths, notes.reader).files] == paths
        assert len(notes.read) == expected
        restart()


def test_index_of_few_files_is_not_kept(folder: Path, cache: Path) -> None:
    """A file per game in the cache would cost more than it saves."""
    index_files([str(path) for path in folder.rglob("*.game")][: file_index.SMALL], Notes().reader)
    assert not cache.exists()


def test_index_takes_another_readers_notes_for_unknown(folder: Path) -> None:
    """A reader that notes something else has another name."""
    Notes().index(folder)
    other = index_folder(str(folder), ".game", Reader("sizes/1", lambda path, content: str(len(content))))
    assert other.files[0].note == str(other.files[0].size)


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"schema": "stepopsd.file-index/1"}', "rows", "types", "schema"]
)
def test_index_survives_a_damaged_cache(folder: Path, cache: Path, damage: str) -> None:
    """It reads all again and mends the file."""
    notes = Notes()
    first = notes.index(folder)
    (stored,) = cache.rglob("*.json")
    sound = json.loads(stored.read_text())
    rows = [row[:-1] if damage == "rows" else [*row[:-1], 1] for row in sound["files"]]
    broken = {**sound, "schema": "other"} if damage == "schema" else {**sound, "files": rows}
    stored.write_text(json.dumps(broken) if damage in ("rows", "types", "schema") else damage)
    restart()
    assert [file.digest for file in notes.index(folder).files] == [file.digest for file in first.files]
    assert len(notes.read) == MANY
    assert len(json.loads(stored.read_text())["files"]) == MANY


def test_index_remembers_a_limited_number(tmp_path: Path, folder: Path) -> None:
    """A process that looks into many folders does not grow without end."""
    for number in range(file_index.REMEMBERED + 3):
        index_folder(str(folder), ".game", Reader(f"{number}", lambda path, content: ""))
    assert len(file_index._remembered) == file_index.REMEMBERED
