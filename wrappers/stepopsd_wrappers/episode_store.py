"""A writer of episodes: once written, an episode survives a crash and a full disk."""

import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from stepopsd_envs.user_path import user_path
from stepopsd_wrappers.episode import Episode
from stepopsd_wrappers.folder_lock import RecordingError, locked, require_same_folder
from stepopsd_wrappers.plain_json import EpisodeFormatError
from stepopsd_wrappers.shard_compression import pack, unpack
from stepopsd_wrappers.shards import (
    MANIFEST,
    ShardState,
    closed_shards,
    read_manifest,
    remove_shard,
    require_listed,
    scan,
    shard_path,
    shard_paths,
    write_manifest,
)

SHARD_SIZE = 64 * 2**20
LOCK = "writer.lock"

__all__ = ["LOCK", "SHARD_SIZE", "EpisodeWriter", "RecordingError"]


class EpisodeWriter:
    """Appends episodes to a folder, one line each, in numbered shards.

    Each line is written by one call. If the call fails, the shard is truncated to its previous length. When a
    shard is full, and at `close`, it is listed in `manifest.json` with its SHA-256, and packed if asked to.
    Only one writer may have a folder at a time, in this process or another; several recorders may share it,
    in several threads, too.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        position: Mapping[str, int] | None = None,
        shard_size: int = SHARD_SIZE,
        *,
        fsync: bool = False,
        compress: bool = False,
    ) -> None:
        """Open `folder` for appending; create it if it does not exist.

        Args:
            folder: the folder of the shards.
            position: an earlier result of `position()`; everything written after it is removed. None appends
                after the last whole episode and removes an unfinished last line with a warning.
            shard_size: in bytes; a shard is closed before it would exceed this size.
            fsync: wait after every episode until it is on disk, so that it also survives a power cut.
            compress: compress shards with gzip when they are closed; to continue, the last one is
            decompressed.

        Raises:
            RecordingError: the folder cannot be written, or another writer has it.
            EpisodeFormatError: the folder does not hold the episodes that `position` counts, or without one a
                shard that the manifest lists.
            ValueError: `position` was not returned by `position()`.
        """
        _check_position(position)
        self.folder = user_path(folder).absolute()  # the program may change its folder later
        self._shard_size = shard_size
        self._fsync, self._compress, self._process = fsync, compress, os.getpid()
        self._writing = threading.Lock()
        self._recorders = 0
        with _recording(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._place = self.folder.stat()
            self._lock = locked(self.folder / LOCK)
            try:
                self._open(position)
            except BaseException:
                self._lock.close()
                raise
        self._first = self.position()["episodes"]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse copies, and so those of recorders: two writers would write over each other's lines.

        Raises:
            RecordingError: always.
        """
        raise RecordingError(
            f"a recorder of {self.folder} cannot be copied or pickled, as only one writer may have a folder; "
            "give the copy a folder of its own, or continue from the recorder's snapshot()"
        )

    def _open(self, position: Mapping[str, int] | None) -> None:
        """Check everything before changing any file."""
        paths = shard_paths(self.folder)
        if position is None:
            require_listed(read_manifest(self.folder), paths)
        self._index = max(len(paths) - 1, 0) if position is None else position["shard"]
        path = self._path
        if self._index >= max(len(paths), 1):
            raise EpisodeFormatError(
                f"{path}, the shard to append to, is missing; resume from an older position, or record into "
                "a new folder"
            )
        if not paths:
            path.touch()
        current = paths[self._index] if paths else path
        self._state = scan(current, None if position is None else position["offset"])
        self._closed = closed_shards(self.folder, paths[: self._index])
        if position is not None and self.position()["episodes"] != position["episodes"]:
            raise EpisodeFormatError(
                f"{self.folder} holds {self.position()['episodes']} episodes before the position to resume "
                f"from, expected {position['episodes']}: the files were changed; resume from an older "
                "position, or record into a new folder"
            )
        self._cut(path, paths[self._index + 1 :], warn=position is None)

    def _cut(self, path: Path, later: list[Path], warn: bool) -> None:
        """Remove everything after the position; after an interruption the same call completes the removal."""
        if self._closed != read_manifest(self.folder):
            write_manifest(self.folder, self._closed)
        for shard in reversed(later):
            remove_shard(shard)
        unpack(path)
        self._file: FileIO = open(path, "ab", buffering=0)
        excess = path.stat().st_size - self._state.size
        self._file.truncate(self._state.size)
        if excess and warn:
            warnings.warn(
                f"{path}: removed an unfinished last line of {excess} bytes", RuntimeWarning, stacklevel=4
            )

    @property
    def _path(self) -> Path:
        return shard_path(self.folder, self._index)

    def append(self, episode: Episode) -> None:
        """Write one episode.

        Raises:
            RecordingError: the disk is full or fails, the writer is closed, or another process opened it; no
                part of this episode remains, the others are kept.
            EpisodeFormatError: the episode holds a value that JSON cannot represent; nothing was written.
        """
        self._check_open()
        line = (episode.to_json() + "\n").encode("ascii")
        with self._writing, _recording(self._path):
            if self._state.size and self._state.size + len(line) > self._shard_size:
                self._start_next_shard()
            self._file.truncate(self._state.size)  # has an effect only if truncating failed the last time
            try:
                _write(self._file, line)
                if self._fsync:
                    os.fsync(self._file.fileno())
                self._state = self._state.after(line)
            except BaseException:  # Ctrl-C too: half a line must never remain
                self._file.truncate(self._state.size)
                raise

    def _check_open(self) -> None:
        """Refuse a closed writer, and a fork of one: its process would cut off what the other has written."""
        if self._file.closed:
            raise RecordingError(f"the writer of {self.folder} is closed; open another to go on recording")
        if os.getpid() != self._process:
            raise RecordingError(
                f"the writer of {self.folder} was opened by process {self._process}, of which this one is a "
                "fork; open a writer in each process, with a folder of its own"
            )

    def _start_next_shard(self) -> None:
        self._list_as_closed()
        next_file = open(shard_path(self.folder, self._index + 1), "ab", buffering=0)
        self._file.close()
        full = self._path
        self._file, self._index, self._state = next_file, self._index + 1, ShardState()
        self._pack(full)

    def _list_as_closed(self) -> None:
        os.fsync(self._file.fileno())
        require_same_folder(self.folder, self._place)
        entry = self._state.closed(self._path.name)
        with _recording(self.folder / MANIFEST):
            write_manifest(self.folder, [*self._closed, entry])
        self._closed.append(entry)

    def _pack(self, path: Path) -> None:
        """Compress a closed shard if asked to; an error leaves it uncompressed and costs no episode."""
        if self._compress:
            try:
                pack(path)
            except OSError as error:
                warnings.warn(
                    f"{path} stays unpacked: {error.strerror or error}", RuntimeWarning, stacklevel=4
                )

    def new_run(self) -> str:
        """Return the ``run`` of a recorder's episodes that nobody identifies, another for each recorder.

        It is empty for the first one in a new folder. So attempts recorded by several, at once or one after
        another, are never taken for a group.
        """
        with self._writing:
            self._recorders = number = self._recorders + 1
        others = "" if number == 1 else f", recorder {number}"
        return f"from episode {self._first}{others}" if self._first or others else ""

    def position(self) -> dict[str, int]:
        """Return the position of the next episode in JSON types, for `EpisodeWriter(folder, position)`."""
        episodes = sum(entry.episodes for entry in self._closed) + self._state.episodes
        return {"shard": self._index, "offset": self._state.size, "episodes": episodes}

    def sync(self) -> None:
        """Wait until everything written is on disk; call it before storing a position in a checkpoint."""
        with _recording(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """List the last shard in the manifest and release the folder; further calls do nothing."""
        if self._file.closed:
            return
        if os.getpid() != self._process:  # a fork changes nothing
            self._file.close()
            self._lock.close()
            return
        with self._writing:
            self._close()

    def _close(self) -> None:
        episodes = self._state.episodes
        try:
            with _recording(self.folder):
                if episodes:
                    self._list_as_closed()
            self._file.close()
            if episodes:
                self._pack(self._path)
        finally:
            self._file.close()
            self._lock.close()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the writer."""
        self.close()


@contextmanager
def _recording(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `RecordingError` that says what to do."""
    try:
        yield
    except FileExistsError as error:
        raise RecordingError(f"{path} is a file; name a folder to record to") from error
    except OSError as error:
        raise RecordingError(
            f"cannot record to {error.filename or path}: {error.strerror or error}. Everything recorded "
            "before is kept; free some space or make the folder writable, then resume (train: with --resume)"
        ) from error


def _write(file: FileIO, line: bytes) -> None:
    """Write `line`; if the system takes only a part of it, a second call raises the error that says why."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def _check_position(position: Mapping[str, int] | None) -> None:
    if position is None:
        return
    has_keys = position.keys() == {"shard", "offset", "episodes"}
    if not has_keys or not all(type(value) is int and value >= 0 for value in position.values()):
        raise ValueError(
            f"position is {dict(position)}; pass what EpisodeWriter.position() returned, or None to append"
        )
