"""The set of tasks of an environment: a sorted list with content hashes, and one fingerprint of the set."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b


class GamesNotFoundError(ValueError):
    """There is no task to play; the message says where it was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One task on disk.

    Attributes:
        task_id: id of the task, independent of the location of the data.
        path: path of the file.
        digest: hash of its bytes.
        note: note that was made when it was read.
    """

    task_id: str
    path: str
    digest: str = ""
    note: str = ""


def canonical(files: Iterable[TaskFile]) -> tuple[TaskFile, ...]:
    """The files sorted by task id, without duplicates; this order numbers the tasks everywhere.

    Raises:
        ValueError: two files have the same task id.
    """
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
    """Hash of a sequence of (name, content) pairs: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for entry in entries:
        digest.update(json.dumps(entry).encode("utf-8") + b"\n")
    return digest.hexdigest()


def fingerprint_files(files: Iterable[TaskFile]) -> str:
    """Fingerprint of a list of files: depends on their ids and bytes, not on their paths."""
    return fingerprint((file.task_id, file.digest) for file in files)
