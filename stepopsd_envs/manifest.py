"""Which tasks an environment draws from: sorted lists with content hashes, and one fingerprint of the set."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b


class GamesNotFoundError(ValueError):
    """No task to play: the message names what was searched and what to do."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One task on disk.

    Attributes:
        task_id: does not depend on where the data lies.
        path: the file.
        digest: hash of its bytes.
        note: what was noted of it when it was read.
    """

    task_id: str
    path: str
    digest: str = ""
    note: str = ""


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


def fingerprint_files(files: Iterable[TaskFile]) -> str:
    """The fingerprint of a list of files: their ids and their bytes, not where they lie."""
    return fingerprint((file.task_id, file.digest) for file in files)
