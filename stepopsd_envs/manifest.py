"""Which tasks an environment draws from: canonical sorted lists, content hashes, one fingerprint for the set.

Hashing thousands of files takes seconds, so the hashes are kept on disk, under ``$STEPOPSD_CACHE`` or
``~/.cache/stepopsd``, and reused as long as a file's size and modification time stay the same.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

Known = dict[str, tuple[int, int, str]]  # path -> size, modification time in nanoseconds, hash


class GamesNotFoundError(ValueError):
    """No task to play: the message names what was searched and what to do."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One task on disk. ``task_id`` does not depend on where the data lies."""

    task_id: str
    path: str


def canonical(files: Iterable[TaskFile]) -> tuple[TaskFile, ...]:
    """Sorted by task id, the order everything counts in. Two files of one id are an error."""
    ordered = sorted(files, key=lambda file: (file.task_id, file.path))
    unique: list[TaskFile] = []
    for file in ordered:
        if not unique or unique[-1].task_id != file.task_id:
            unique.append(file)
        elif unique[-1].path != file.path:
            raise ValueError(
                f"{unique[-1].path} and {file.path} are both task {file.task_id!r}: give only one of the "
                "two, or rename a folder"
            )
    return tuple(unique)


def fingerprint(entries: Iterable[tuple[str, str]]) -> str:
    """One hash of (name, content) pairs in their order: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for entry in entries:
        digest.update(json.dumps(entry).encode("utf-8") + b"\n")
    return digest.hexdigest()


def fingerprint_files(files: Sequence[TaskFile]) -> str:
    """The fingerprint of a list of files: their ids and their bytes, not where they lie."""
    hashes = content_hashes([file.path for file in files])
    return fingerprint((file.task_id, digest) for file, digest in zip(files, hashes, strict=True))


def content_hashes(paths: Sequence[str]) -> list[str]:
    """Hashes of the files' bytes, in order; only files unknown to the cache on disk are read."""
    store = cache_folder() / "hashes" / f"{fingerprint(('path', path) for path in paths)}.json"
    known = _read(store)
    current: Known = {}
    for path in paths:
        stat = os.stat(path)
        old = known.get(path)
        if old is not None and old[:2] == (stat.st_size, stat.st_mtime_ns):
            current[path] = old
        else:
            current[path] = (stat.st_size, stat.st_mtime_ns, _hash_of(path))
    if current != known:
        _write(store, current)
    return [current[path][2] for path in paths]


def cache_folder() -> Path:
    """``$STEPOPSD_CACHE``, else ``~/.cache/stepopsd``. It can be deleted at any time."""
    given = os.environ.get("STEPOPSD_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "stepopsd"


def _hash_of(path: str) -> str:
    with open(path, "rb") as file:
        return blake2b(file.read(), digest_size=16).hexdigest()


def _read(store: Path) -> Known:
    """What the cache knows; a missing, torn or foreign file knows nothing."""
    try:
        rows = json.loads(store.read_text("utf-8"))
        return {path: (int(size), int(mtime), str(digest)) for path, (size, mtime, digest) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(store: Path, known: Known) -> None:
    """Replace the cache file in one go. A read-only or full disk only costs the hashing next time."""
    with suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=store.parent, prefix=store.stem, suffix=".tmp")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(known, file)
            os.replace(name, store)
        except OSError:
            os.unlink(name)
            raise
