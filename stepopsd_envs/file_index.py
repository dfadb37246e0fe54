"""An index of files with hashes of their bytes; each file is read once, then looked up.

Reading thousands of files takes seconds. So the index is kept in the process and in the cache on disk. An
entry is valid as long as size, modification time (mtime) and change time (ctime) of its file stay the same.
These times are coarse: a file that changed shortly before it was read is read again.
"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from stepopsd_envs.disk_cache import read_cached, write_cached

SCHEMA = "stepopsd.file-index/1"
SMALL = 16  # up to so many files, reading again is cheaper than keeping an index
REMEMBERED = 16  # indexes per process
COARSE_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT)

Advance = Callable[[], object]


class IndexedFile(NamedTuple):
    """A file as it was when it was read; ``note`` is the ``Reader``'s note on it. Times in nanoseconds.

    A link to a file that is not there, or what is no file, has no digest, and the reader's note on no bytes.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    read_ns: int
    digest: str
    note: str

    @property
    def sure(self) -> bool:
        """Whether a later change must alter the times: the file was older than ``COARSE_NS`` when read."""
        return max(self.modified_ns, self.changed_ns) + COARSE_NS < self.read_ns


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes the note on a file from its path and bytes; a reader with other notes needs another name."""

    name: str
    note: Callable[[str, bytes], str]


@dataclass(frozen=True, eq=False)  # compared by identity, so that results can be cached by index
class FileIndex:
    """Indexed files of a folder or a list.

    Attributes:
        files: in the order of their paths, or as given.
        folders: every searched folder, with its modification time and the time of the search (nanoseconds).
    """

    files: tuple[IndexedFile, ...] = ()
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)


_remembered: dict[str, FileIndex] = {}


def index_folder(folder: str, suffix: str, reader: Reader, advance: Advance | None = None) -> FileIndex:
    """The index of all files below a folder whose names end with ``suffix``.

    As long as no file changes, the same object is returned.

    Args:
        folder: absolute path.
        suffix: end of the file names to index.
        reader: makes the note on each file.
        advance: called for every file, to show progress.

    Raises:
        OSError: a folder or file cannot be read.
    """
    name = _cache_name(reader, folder, suffix)
    known = _known(name)
    # Each process lists every folder at least once: some file systems do not update a folder's mtime.
    listed = known if known.folders and _same_folders(known) else _searched(folder, suffix, known)
    return _refreshed(name, known, listed, reader, advance)


def index_files(paths: Sequence[str], reader: Reader, advance: Advance | None = None) -> FileIndex:
    """The index of the given files, in their order."""
    name = _cache_name(reader, *paths)
    known = _known(name)
    return _refreshed(name, known, _listed(paths, {}, known), reader, advance)


def digest_of(content: bytes) -> str:
    """Hash of a file's bytes: 32 hexadecimal digits."""
    return blake2b(content, digest_size=16).hexdigest()


def _cache_name(reader: Reader, *names: str) -> str:
    """Name of an index in the cache."""
    key = b"\0".join(map(os.fsencode, (reader.name, *names)))
    return f"index/{digest_of(key)}.json"


def _known(name: str) -> FileIndex:
    """The index that this process, or an earlier one, made under this name; empty if there is none."""
    return _remembered.get(name) or FileIndex(_stored(name))


def _stored(name: str) -> tuple[IndexedFile, ...]:
    """The files of the index on disk; none if its format differs."""
    value = read_cached(name)
    rows = value.get("files") if isinstance(value, dict) and value.get("schema") == SCHEMA else None
    if not isinstance(rows, list):
        return ()
    kinds = [str, int, int, int, int, str, str]
    valid = all(isinstance(row, list) and list(map(type, row)) == kinds for row in rows)
    return tuple(IndexedFile(*row) for row in rows) if valid else ()


def _same_folders(index: FileIndex) -> bool:
    """Whether no file was added to or removed from a folder of the index since the search."""
    try:
        return all(
            modified + COARSE_NS < searched and os.stat(folder).st_mtime_ns == modified
            for folder, (modified, searched) in index.folders.items()
        )
    except FileNotFoundError:
        return False


def _searched(folder: str, suffix: str, known: FileIndex) -> FileIndex:
    """The files below the folder now, each with its known entry."""
    folders, paths = dict[str, tuple[int, int]](), list[str]()
    now = time.time_ns()
    for root, _, names in os.walk(folder, onerror=_raise):  # a skipped folder would silently drop games
        folders[root] = (os.stat(root).st_mtime_ns, now)
        paths += [os.path.join(root, name) for name in names if name.endswith(suffix)]
    return _listed(sorted(paths), folders, known)


def _raise(error: OSError) -> None:
    raise error


def _listed(paths: Sequence[str], folders: dict[str, tuple[int, int]], known: FileIndex) -> FileIndex:
    by_path = {file.path: file for file in known.files}
    unread = (-1, 0, 0, 0, "", "")
    return FileIndex(tuple(by_path.get(path) or IndexedFile(path, *unread) for path in paths), folders)


def _refreshed(
    name: str, known: FileIndex, listed: FileIndex, reader: Reader, advance: Advance | None
) -> FileIndex:
    """Read the files that are new, changed or not ``sure``, and keep the result."""
    files = tuple(_current(file, reader, advance) for file in listed.files)
    if files == known.files and listed.folders == known.folders:
        return known
    index = FileIndex(files, listed.folders)
    if len(files) > SMALL:
        _remembered.pop(name, None)
        _remembered[name] = index
        for oldest in list(_remembered)[:-REMEMBERED]:
            del _remembered[oldest]
        if files != known.files:
            write_cached(name, {"schema": SCHEMA, "files": files})
    return index


def _stat(path: str) -> os.stat_result | None:
    """Size and times; None for a link to a file that is not there, and for a pipe and the like."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return None
        raise
    return found if stat.S_ISREG(found.st_mode) else None


def _current(file: IndexedFile, reader: Reader, advance: Advance | None) -> IndexedFile:
    if advance is not None:
        advance()
    now, found = time.time_ns(), _stat(file.path)
    if found is None:  # the reader says what to make of it
        return IndexedFile(file.path, 0, 0, 0, now, "", reader.note(file.path, b""))
    size_and_times = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if file.sure and file[1:4] == size_and_times:
        return file
    with open(file.path, "rb") as stream:
        content = stream.read()
    return IndexedFile(file.path, *size_and_times, now, digest_of(content), reader.note(file.path, content))
