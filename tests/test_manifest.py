"""Canonical lists, hashes kept on disk, and fingerprints."""

import json
import os
from pathlib import Path

import pytest

from stepopsd_envs import manifest
from stepopsd_envs.manifest import TaskFile, canonical, content_hashes, fingerprint, fingerprint_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STEPOPSD_CACHE", str(folder))
    return folder


def make_files(folder: Path, **texts: str) -> list[str]:
    """Files of the given contents; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in texts]


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files that get hashed from now on."""
    read: list[str] = []
    hash_of = manifest._hash_of

    def note(path: str) -> str:
        read.append(path)
        return hash_of(path)

    monkeypatch.setattr(manifest, "_hash_of", note)
    return read


def test_canonical_sorts_by_task_id_and_drops_repeats() -> None:
    """Whatever order a file system lists files in."""
    files = [TaskFile("b/2", "/y"), TaskFile("a/10", "/z"), TaskFile("a/9", "/x"), TaskFile("b/2", "/y")]
    assert [file.task_id for file in canonical(files)] == ["a/10", "a/9", "b/2"]
    assert canonical(files) == canonical(reversed(files))


def test_canonical_refuses_two_files_of_one_id() -> None:
    """Else it would depend on luck which of them is played."""
    with pytest.raises(ValueError, match=r"/x and /y are both task 'a/1'"):
        canonical([TaskFile("a/1", "/y"), TaskFile("a/1", "/x")])


def test_fingerprint_depends_on_names_contents_and_order() -> None:
    """And has no ambiguity between a name and a content."""
    lists = [[("a", "1")], [("a", "2")], [("b", "1")], [("a1", "")], [("a", "1"), ("b", "2")], []]
    lists.append([("b", "2"), ("a", "1")])
    assert len({fingerprint(entries) for entries in lists}) == len(lists)
    assert fingerprint(lists[4]) == fingerprint(iter(lists[4]))


def test_fingerprint_files_does_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    """Two copies of a data set have one fingerprint, a changed byte another."""
    here, there = (make_files(tmp_path / name, a="1", b="2") for name in ("here", "there"))
    prints = {
        fingerprint_files([TaskFile(f"t/{i}", path) for i, path in enumerate(p)]) for p in (here, there)
    }
    assert len(prints) == 1
    Path(there[1]).write_text("3")
    assert fingerprint_files([TaskFile(f"t/{i}", path) for i, path in enumerate(there)]) not in prints


def test_content_hashes_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later calls, and later processes, find the hashes on disk."""
    paths, read = make_files(tmp_path / "data", a="1", b="2", c="1"), count_reads(monkeypatch)
    first = content_hashes(paths)
    assert read == paths and first[0] == first[2] != first[1]
    assert content_hashes(paths) == first
    assert read == paths


def test_content_hashes_reads_a_changed_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new size or a new time is a new file; the others are still known."""
    paths = make_files(tmp_path / "data", a="1", b="2")
    first, read = content_hashes(paths), count_reads(monkeypatch)
    Path(paths[1]).write_text("3")
    os.utime(paths[1], ns=(1, 1))
    assert content_hashes(paths)[0] == first[0]
    assert content_hashes(paths)[1] != first[1]
    assert read == paths[1:]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"x": 1}', '{"x": [1, 2]}', "\x00\xff"], ids=repr)
def test_content_hashes_survives_a_damaged_cache(tmp_path: Path, cache: Path, damage: str) -> None:
    """It hashes again and mends the file."""
    paths = make_files(tmp_path / "data", a="1")
    first = content_hashes(paths)
    (stored,) = cache.rglob("*.json")
    stored.write_text(damage)
    assert content_hashes(paths) == first
    assert list(json.loads(stored.read_text())) == paths


def test_content_hashes_leaves_no_temporary_files(tmp_path: Path, cache: Path) -> None:
    """Each list of files has one file in the cache."""
    for text in ("1", "22", "333"):
        content_hashes(make_files(tmp_path / "data", a=text))
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".json"]


def test_content_hashes_works_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that cannot be made costs time, no more."""
    (blocked,) = make_files(tmp_path, blocked="a file, no folder")
    monkeypatch.setenv("STEPOPSD_CACHE", blocked)
    paths = make_files(tmp_path / "data", a="1")
    assert content_hashes(paths) == content_hashes(paths)


def test_cache_folder_defaults_to_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the variable is unset or empty."""
    monkeypatch.setenv("HOME", "/home/someone")
    for value in ("", None):
        monkeypatch.delenv("STEPOPSD_CACHE") if value is None else monkeypatch.setenv("STEPOPSD_CACHE", value)
        assert manifest.cache_folder() == Path("/home/someone/.cache/stepopsd")
