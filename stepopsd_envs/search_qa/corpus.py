"""Corpora on disk: JSON lines, one passage per line, plain or compressed (`json_lines.py`).

A line has an id and ``text``, ``contents`` or both. ``title`` is the title; without one it is the first line
of ``contents`` if that stands in quotes, as in the Wikipedia of Search-R1 and FlashRAG. Other fields are
ignored.
"""

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from stepopsd_envs.search_qa.json_lines import fields_of, read_rows, row_id
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.errors import CorpusError
from stepopsd_envs.user_path import user_path


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
    path = user_path(path)
    count = 0
    try:
        for where, row in read_rows(path):
            count += 1
            yield _passage(where, row)
    except CorpusError:
        raise
    except ValueError as error:
        raise CorpusError(str(error)) from error
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
    """Split the text made by ``contents`` into title and text; only a quoted first line is a title."""
    first, newline, rest = text.partition("\n")
    first = first.strip()
    if newline and len(first) >= 2 and first[0] == first[-1] == '"':
        return first[1:-1], rest
    return "", text


def _passage(where: str, row: dict[str, Any]) -> Passage:
    try:
        return passage_of(row)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def passage_of(row: Any) -> Passage:
    """The passage in a decoded JSON object; fields that are null count as absent.

    Raises:
        ValueError: the object is not a passage; the message says why.
    """
    if not isinstance(row, dict):
        raise ValueError(f"a passage must be a JSON object, got {row!r:.60}")
    name, title = row_id(row), row.get("title")
    # A text that is there and blank tells less than contents do.
    text = row.get("text")
    blank = text is None or (isinstance(text, str) and not text.strip())
    key = "contents" if blank and row.get("contents") is not None else "text"
    text = row.get(key)
    if text is None:
        raise ValueError(f"there is no text; {fields_of(row)}; give 'title' and 'text', or 'contents'")
    for field, value in (("title", "" if title is None else title), (key, text)):
        if not isinstance(value, str):
            raise ValueError(f"{field!r} is {value!r:.60}; give a text ({fields_of(row)})")
    title = _line(title or "")
    if key == "contents":
        quoted, rest = split_contents(text)
        inner = _line(quoted)  # of contents with a title of its own, beside `title`
        if not title or title == inner or (inner and title == f'"{inner}"'):
            title, text = title if title == inner else inner, rest
    return Passage(encodable(name), encodable(title), encodable(text))


def _line(title: str) -> str:
    """A title must be one line, so that `split_contents` can undo `contents`."""
    return " ".join(title.split())


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, since UTF-8 cannot encode them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
