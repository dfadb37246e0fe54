"""An inverted index: the passages that contain a term, with counts. Built in memory, saved in a folder."""

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.retrieval.terms import term_of, words

Whole = NDArray[np.int32]
ARRAYS = ("starts", "passages", "counts", "lengths")
_STOP = -1


class Postings(NamedTuple):
    """The index. The postings of term t are ``passages`` and ``counts`` in ``[starts[t], starts[t + 1])``."""

    terms: dict[str, int]  # term to number, in the order of first occurrence
    starts: NDArray[np.int64]  # [terms + 1]
    passages: Whole  # [postings], rising within a term, each at most once
    counts: Whole  # [postings], occurrences of the term in the passage
    lengths: Whole  # [passages], in terms


def build(texts: Iterable[str]) -> Postings:
    """Index texts, numbered in their order."""
    forms = _Forms()
    numbers, lengths = array("i"), array("i")
    for text in texts:
        before = len(numbers)
        numbers.extend([number for word in words(text) if (number := forms[word]) != _STOP])
        lengths.append(len(numbers) - before)
    return _sorted(forms.terms, np.asarray(numbers, np.int64), np.asarray(lengths, np.int32))


def _sorted(terms: dict[str, int], numbers: NDArray[np.int64], lengths: Whole) -> Postings:
    """Turn the concatenated term numbers of all texts into postings by term."""
    texts = max(len(lengths), 1)
    keys = numbers * texts + np.repeat(np.arange(len(lengths)), lengths)
    keys, counts = np.unique(keys, return_counts=True)
    of_term, passages = np.divmod(keys, texts)
    starts = np.searchsorted(of_term, np.arange(len(terms) + 1))
    return Postings(
        terms, starts.astype(np.int64), passages.astype(np.int32), counts.astype(np.int32), lengths
    )


class _Forms(dict[str, int]):
    """Maps words to term numbers; each word is analysed once, since a corpus repeats few words."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        term = term_of(word)
        number = self.terms.setdefault(term, len(self.terms)) if term else _STOP
        self[word] = number
        return number


def write(folder: Path, postings: Postings) -> None:
    """Write the index into an existing folder."""
    (folder / "terms.json").write_text(json.dumps(list(postings.terms)), encoding="ascii")
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", postings._asdict()[name], allow_pickle=False)


def read(folder: Path) -> Postings:
    """Read an index.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file has another format.
    """
    terms = json.loads((folder / "terms.json").read_bytes())
    arrays = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS)
    return Postings({term: number for number, term in enumerate(terms)}, *arrays)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hash of the content of each file, by name."""
    hashes = {}
    for name in names:
        with open(plain_file(folder / name), "rb") as file:
            hashes[name] = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    return hashes


def require_equal(expected: Mapping[str, Any], found: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError for the first file whose hash in ``found`` differs from ``expected``."""
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(f"{folder / name} is incomplete or was changed; build the index again")
