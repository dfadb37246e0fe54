"""Compress shards with gzip, which the standard library of Python 3.11 has; zstd comes with 3.14.

A shard is on disk as a plain file, as a packed one, or for a moment as both: the old file is removed only
after the new one is complete, so a process killed in between loses nothing.
"""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from stepopsd_envs.plain_file import plain_file
from stepopsd_wrappers.plain_json import EpisodeFormatError

PACKED = ".gz"
LEVEL = 6


def packed_path(path: Path) -> Path:
    """Return the path of the packed file of the shard `path`."""
    return path.with_name(path.name + PACKED)


def shard_name(path: Path) -> str:
    """Return the name of a shard in the manifest, which is that of the plain file."""
    return path.name.removesuffix(PACKED)


def is_packed(path: Path) -> bool:
    """Return whether `path` is a packed file."""
    return path.name.endswith(PACKED)


@contextmanager
def open_shard(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or packed shard for reading.

    Raises:
        EpisodeFormatError: a packed file is damaged.
    """
    try:
        plain_file(path)
        with gzip.open(path, "rb") if is_packed(path) else open(path, "rb") as file:
            yield cast(IO[bytes], file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EpisodeFormatError(
            f"{path} is damaged ({error}); restore it from a copy, or move it and all later shards away"
        ) from error


def pack(path: Path) -> None:
    """Replace the plain file by a packed one.

    Raises:
        OSError: it cannot be written; the plain file stays.
    """
    with _whole(packed_path(path)) as target, open(path, "rb") as source:
        # Without name and time, so that equal shards give equal files.
        with gzip.GzipFile("", "wb", LEVEL, target, mtime=0) as packed:
            shutil.copyfileobj(source, packed, 2**20)
    path.unlink()


def unpack(path: Path) -> None:
    """Replace the packed file, if there is one, by a plain one."""
    packed = packed_path(path)
    if packed.exists() and not path.exists():
        with _whole(path) as target, open_shard(packed) as source:
            shutil.copyfileobj(source, target, 2**20)
    packed.unlink(missing_ok=True)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a temporary file and rename it to `path` once it is on disk; an error removes it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
