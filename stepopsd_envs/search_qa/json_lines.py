"""Files of questions and of passages: JSON lines, one object per line, plain or compressed.

Blank lines and a byte order mark are skipped. The id of a row is its `id`, `_id` or `docid`, a text or a
number.
"""

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from stepopsd_envs.plain_file import plain_file

ID_KEYS = ("id", "_id", "docid")
OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".jsonl": lambda path: path.open("rb"),
    ".xz": lambda path: cast(BinaryIO, lzma.open(path, "rb")),
    ".gz": lambda path: cast(BinaryIO, gzip.open(path, "rb")),
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file, in order, each with its place (file and line) for errors.

    Raises:
        ValueError: the file cannot be read, is damaged, or a line is not a JSON object.
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON ({error}); each line must be an object") from error
        if not isinstance(row, dict):
            raise ValueError(f"{where}: got {line.strip()[:80]!r}; each line must be an object")
        yield where, row


def row_id(row: Mapping[str, Any]) -> str:
    """The id of a row; keys that are null count as absent.

    Raises:
        ValueError: there is none, or it is neither a text nor a whole number; the message says what is there.
    """
    key = next((key for key in ID_KEYS if row.get(key) is not None), None)
    if key is None:
        raise ValueError(f"there is no id; {fields_of(row)}; give {', '.join(ID_KEYS[:-1])} or {ID_KEYS[-1]}")
    return id_text(row[key], key)


def id_text(value: object, key: str) -> str:
    """An id as text.

    Raises:
        ValueError: it is blank, or neither a text nor a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError(f"{key!r} is {value!r:.60}; give a text that is not blank, or a whole number")
    return str(value)


def fields_of(row: Mapping[str, Any]) -> str:
    """The keys of a row in words, for errors."""
    return f"the keys are {', '.join(map(repr, row))[:200]}" if row else "the object is empty"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1, without a byte order mark."""
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise ValueError(f"{path}: give a .jsonl file, plain or compressed (.jsonl.xz, .jsonl.gz)")
    number = 0
    try:
        with opener(plain_file(path)) as file:
            for number, line in enumerate(file, 1):
                yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{path} is damaged or truncated after line {number} ({error}); download it again"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
