"""Shards packed with gzip, which every Python 3.11 can write and read; zstd is in the library from 3.14 on.

A shard is on disk as it is, packed, or for a moment as both, which then say the same: the packed file is
whole before the plain one goes, and the plain one is whole before the packed one goes.
"""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from stepopsd_wrappers.plain_json import EpisodeFormatError

PACKED = ".gz"
LEVEL = 6


def packed_path(path: Path) -> Path:
    """The packed file of the shard `path`."""
    return path.with_name(path.name + PACKED)


def shard_name(path: Path) -> str:
    """The name of a shard, packed or not, as the manifest has it."""
    return path.name.removesuffix(PACKED)


def is_packed(path: Path) -> bool:
    """Whether the file is a packed one."""
    return path.name.endswith(PACKED)


@contextmanager
def open_shard(path: Path) -> Iterator[IO[bytes]]:
    """Open a shard, packed or not, to read its lines.

    Raises:
        EpisodeFormatError: a packed file is damaged.
    """
    try:
        with gzip.open(path, "rb") if is_packed(path) else open(path, "rb") as file:
            yield cast(IO[bytes], file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EpisodeFormatError(
            f"{path} is damaged ({error}); restore it from a copy, or move it and all later shards away"
        ) from error


def pack(path: Path) -> None:
    """Put the packed file in the place of the plain one; without room for it, the plain one stays."""
    with _whole(packed_path(path)) as target, open(path, "rb") as source:
        # Neither name nor time: equal shards give equal files.
        with gzip.GzipFile("", "wb", LEVEL, target, mtime=0) as packed:
            shutil.copyfileobj(source, packed, 2**20)
    path.unlink()


def unpack(path: Path) -> None:
    """Put the plain file in the place of the packed one, if there is one."""
    packed = packed_path(path)
    if packed.exists() and not path.exists():
        with _whole(path) as target, open_shard(packed) as source:
            shutil.copyfileobj(source, target, 2**20)
    packed.unlink(missing_ok=True)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole and on disk; after an error nothing is left."""
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
