"""Writing files so that a reader never sees half of one, and a failed write says which file it was."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an operating-system error the file's name: errors of a write or a flush come without one.

    Raises:
        OSError: With the same error number, so that callers can still tell a full disk from a read-only one.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path}: {error.strerror or error}. What was written before is intact; "
            "make room there or choose another folder, then go on",
        ) from error


def check_can_make(path: Path) -> None:
    """Find out before long work whether its result can be written, by a file that is gone again.

    Folders that are missing are not made: the file is made in the nearest one that is there.

    Raises:
        OSError: it cannot; that folder is not one, or is not to be written to, or the name is too long.
    """
    there = next(folder for folder in path.absolute().parents if folder.exists())
    with naming(path), NamedTemporaryFile(dir=there, prefix=f".{path.name}.", suffix=".tmp"):
        pass


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` (files made, renamed or removed) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes_atomic(path: Path | str, data: bytes) -> None:
    """Write under a temporary name, then rename: `path` holds the old content or the new, never a part."""
    path = Path(path)
    # The process id keeps two writers apart; the leading dot keeps the file out of globs such as *.json.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path | str, obj: Any) -> None:
    """Write `obj` as indented JSON with sorted keys, atomically; NaN and infinities raise ValueError."""
    text = json.dumps(obj, indent=2, sort_keys=True, allow_nan=False)
    write_bytes_atomic(path, (text + "\n").encode())
