"""Corpora on disk: JSON lines, one passage per line, plain or compressed.

A line has ``id`` and either ``title`` and ``text``, or ``contents``: the title in quotes, a line break, then
the text, as in the Wikipedia of Search-R1 and FlashRAG. Other fields and blank lines are ignored.
"""

import gzip
import json
import lzma
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.errors import CorpusError

OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".jsonl": lambda path: path.open("rb"),
    ".xz": lambda path: cast(BinaryIO, lzma.open(path, "rb")),
    ".gz": lambda path: cast(BinaryIO, gzip.open(path, "rb")),
}


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """Identity and size of a corpus.

    Attributes:
        fingerprint: hash of all passages in their order; compression and field names do not change it.
        passages: number of passages.
    """

    fingerprint: str
    passages: int


def read_corpus(path: str | Path) -> Iterator[Passage]:
    """Read the passages of a file, in the order of the file.

    Raises:
        CorpusError: a line is not a passage, the file is damaged, or it has no passage.
    """
    path = Path(path)
    count = 0
    for number, line in _lines(path):
        if line.strip():
            count += 1
            yield _passage(path, number, line)
    if not count:
        raise CorpusError(f"{path} holds no passage; give a file with one JSON object per line")


def corpus_facts(passages: Iterable[Passage]) -> CorpusFacts:
    """Count and hash passages.

    Raises:
        CorpusError: two passages have the same id.
    """
    digest, ids = blake2b(digest_size=16), array("Q")
    for passage in passages:
        digest.update(json.dumps([passage.id, contents(passage)]).encode() + b"\n")
        ids.append(int.from_bytes(blake2b(passage.id.encode(), digest_size=8).digest()))
    hashes, times = np.unique(np.frombuffer(ids, dtype=np.uint64), return_counts=True)
    if len(hashes) < len(ids):
        position = int(np.argmax(np.frombuffer(ids, dtype=np.uint64) == hashes[np.argmax(times)]))
        raise CorpusError(
            f"{len(ids) - len(hashes)} passages repeat the id of another one, such as the id of passage "
            f"{position + 1}; ids must be unique: remove or rename them"
        )
    return CorpusFacts(digest.hexdigest(), len(ids))


def contents(passage: Passage) -> str:
    """A passage as one text: its title in quotes, a line break, its text."""
    return f'"{passage.title}"\n{passage.text}'


def split_contents(text: str) -> tuple[str, str]:
    """Split the text made by ``contents`` into title and text; a text of one line has no title."""
    first, newline, rest = text.partition("\n")
    if not newline:
        return "", text
    quoted = len(first) >= 2 and first[0] == first[-1] == '"'
    return (first[1:-1] if quoted else first), rest


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1; a damaged file raises ``CorpusError`` with its name."""
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise CorpusError(f"{path}: a corpus is a .jsonl file, plain or compressed (.jsonl.xz, .jsonl.gz)")
    number = 0
    try:
        with opener(path) as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        raise CorpusError(
            f"{path} is damaged or truncated after line {number} ({error}); download it again"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from error


def _passage(path: Path, number: int, line: bytes) -> Passage:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}, line {number}: not JSON ({error})") from error
    try:
        return passage_of(row)
    except ValueError as error:
        raise CorpusError(f"{path}, line {number}: {error}") from error


def passage_of(row: Any) -> Passage:
    """The passage in a decoded JSON object.

    Raises:
        ValueError: the object is not a passage; the message says why.
    """
    if not isinstance(row, dict):
        raise ValueError(f"a passage must be a JSON object, got {row!r:.60}")
    name = row.get("id")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise ValueError(f"'id' is {name!r:.60}; give a string or a number")
    if "text" in row:
        title, text = row.get("title", ""), row["text"]
    elif isinstance(row.get("contents"), str):
        title, text = split_contents(row["contents"])
    else:
        raise ValueError(f"got the fields {sorted(row)!r:.200}; give 'title' and 'text', or 'contents'")
    if not isinstance(title, str) or not isinstance(text, str):
        raise ValueError(f"'title' and 'text' must be strings, got {title!r:.60} and {text!r:.60}")
    # A title must be one line, so that `split_contents` can undo `contents`.
    return Passage(encodable(str(name)), encodable(" ".join(title.split())), encodable(text))


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, since UTF-8 cannot encode them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
