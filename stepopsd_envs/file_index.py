"""Which files there are, with hashes of their bytes: read once, then looked up.

Reading thousands of files takes seconds. What was found is kept in the process and in the cache on disk, and
holds as long as a file's size, time of modification and time of change stay the same. These times are coarse,
so a file that had changed shortly before it was read is read again.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from stepopsd_envs.disk_cache import read_cached, write_cached

SCHEMA = "stepopsd.file-index/1"
SMALL = 16  # so few files are rather read again than kept
REMEMBERED = 16  # indexes per process
COARSE_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT)

Advance = Callable[[], object]


class IndexedFile(NamedTuple):
    """A file as it was when it was read. ``note`` is what the reader of the index said of it."""

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    read_ns: int
    digest: str
    note: str

    @property
    def sure(self) -> bool:
        """Whether any later change shows in the times: the clock went on before the file was read."""
        return max(self.modified_ns, self.changed_ns) + COARSE_NS < self.read_ns


@dataclass(frozen=True, slots=True)
class Reader:
    """Says what to note of a file, given its path and bytes. Another name means that notes are others."""

    name: str
    note: Callable[[str, bytes], str]


@dataclass(frozen=True, eq=False)  # equal to itself alone, so what is made from an index can be kept by it
class FileIndex:
    """The files found or given.

    Attributes:
        files: in the order of their paths, or as given.
        folders: all folders that were searched, with their time of modification and the time of the search.
    """

    files: tuple[IndexedFile, ...] = ()
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)


_remembered: dict[str, FileIndex] = {}


def index_folder(folder: str, suffix: str, reader: Reader, advance: Advance | None = None) -> FileIndex:
    """All files below a folder whose names end with ``suffix``; as long as nothing changes, the same object.

    Args:
        folder: absolute path.
        suffix: of the names of the files that count.
        reader: what to note of each.
        advance: called for every file, to show progress.
    """
    name = _name(reader, folder, suffix)
    known = _known(name)
    # A process looks into every folder once: not every file system keeps the time of a folder.
    listed = known if known.folders and _same_folders(known) else _searched(folder, suffix, known)
    return _refreshed(name, known, listed, reader, advance)


def index_files(paths: Sequence[str], reader: Reader, advance: Advance | None = None) -> FileIndex:
    """The files given, in their order."""
    name = _name(reader, *paths)
    known = _known(name)
    return _refreshed(name, known, _listed(paths, {}, known), reader, advance)


def digest_of(content: bytes) -> str:
    """Hash of a file's bytes: 32 hexadecimal digits."""
    return blake2b(content, digest_size=16).hexdigest()


def _name(reader: Reader, *names: str) -> str:
    """The name in the cache of the index of these names."""
    key = b"\0".join(map(os.fsencode, (reader.name, *names)))
    return f"index/{digest_of(key)}.json"


def _known(name: str) -> FileIndex:
    """What this process or an earlier one found."""
    return _remembered.get(name) or FileIndex(_stored(name))


def _stored(name: str) -> tuple[IndexedFile, ...]:
    """What stands on disk; a file of another form stands for nothing."""
    value = read_cached(name)
    rows = value.get("files") if isinstance(value, dict) and value.get("schema") == SCHEMA else None
    if not isinstance(rows, list):
        return ()
    kinds = [str, int, int, int, int, str, str]
    sound = all(isinstance(row, list) and list(map(type, row)) == kinds for row in rows)
    return tuple(IndexedFile(*row) for row in rows) if sound else ()


def _same_folders(index: FileIndex) -> bool:
    """Whether no folder of the index got or lost a file since."""
    try:
        return all(
            modified + COARSE_NS < searched and os.stat(folder).st_mtime_ns == modified
            for folder, (modified, searched) in index.folders.items()
        )
    except FileNotFoundError:
        return False


def _searched(folder: str, suffix: str, known: FileIndex) -> FileIndex:
    """The files that are there now, with what is known of them."""
    folders, paths = dict[str, tuple[int, int]](), list[str]()
    now = time.time_ns()
    for root, _, names in os.walk(folder, onerror=_raise):  # a folder passed over would be games left out
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
    """Read what is new, changed or not sure, and keep the result."""
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


def _current(file: IndexedFile, reader: Reader, advance: Advance | None) -> IndexedFile:
    if advance is not None:
        advance()
    now, stat = time.time_ns(), os.stat(file.path)
    found = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if file.sure and file[1:4] == found:
        return file
    with open(file.path, "rb") as stream:
        content = stream.read()
    return IndexedFile(file.path, *found, now, digest_of(content), reader.note(file.path, content))
