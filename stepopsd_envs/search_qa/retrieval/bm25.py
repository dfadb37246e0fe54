"""BM25 in numpy: the default retriever, with nothing to install and no other process.

The score of a passage is the sum over the query's terms, repeated ones counted again, of::

    idf * count / (count + k1 * (1 - b + b * length / mean length)),   idf = ln(1 + (N - n + 0.5) / (n + 0.5))

where n of the N passages hold the term, as Lucene has it. All but the sum is worked out beforehand. A passage
is indexed with its title, which counts ``TITLE_TIMES``. What counts as a term stands in ``terms.py``.

Terms, title, k1 and b were chosen by recall@10 on the 200 training questions of HotpotQA and MuSiQue in the
test data: 0.705. The choice is flat there: k1 from 0.9 to 2, b from 0.6 to 0.9 and a title counted once stay
within 0.025 of it.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepopsd_envs import manifest
from stepopsd_envs.search_qa.retrieval import postings as index
from stepopsd_envs.search_qa.retrieval.base import Passage, require_k
from stepopsd_envs.search_qa.retrieval.postings import Postings
from stepopsd_envs.search_qa.retrieval.terms import VERSION, terms

SCHEMA = "stepopsd.bm25/1"
K1, B, TITLE_TIMES = 1.5, 0.75, 2
BLOCK = 64  # scores
SETTINGS_FILE = "bm25.json"  # written last: a folder without it is not finished
PASSAGES_FILE = "passages.jsonl"
FILES = (PASSAGES_FILE, "terms.json", *(f"{name}.npy" for name in index.ARRAYS))


class Bm25:
    """A retriever over passages in memory. Answers depend on nothing but the passages, k1, b and the query.

    Args:
        passages: with ids of their own. Of equally good ones the earlier is the better.
        k1: from 0 up; how much a further occurrence of a term still adds.
        b: 0 to 1; how far a longer passage needs more occurrences.
    """

    def __init__(self, passages: Iterable[Passage], k1: float = K1, b: float = B) -> None:
        held = tuple(passages)
        _require_settings(held, k1, b)
        texts = (f"{passage.title}\n" * TITLE_TIMES + passage.text for passage in held)
        self._hold(held, k1, b, index.build(texts))

    def _hold(self, passages: tuple[Passage, ...], k1: float, b: float, postings: Postings) -> None:
        self._passages, self._postings, self.k1, self.b = passages, postings, k1, b
        self._weights = _weights(postings, k1, b)
        self._fingerprint = _fingerprint(passages, k1, b)

    @property
    def fingerprint(self) -> str:
        """Hash of the passages and of everything else that decides a ranking."""
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._passages)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages of each query, out of those that hold at least one of its terms."""
        require_k(k)
        return [self._found(query, k) for query in queries]

    def close(self) -> None:
        """There is nothing to give back, so one index may be shared: it goes on working."""

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, made if need be."""
        to = Path(folder)
        to.mkdir(parents=True, exist_ok=True)
        (to / SETTINGS_FILE).unlink(missing_ok=True)
        with open(to / PASSAGES_FILE, "w", encoding="ascii", newline="\n") as file:
            for passage in self._passages:
                fields = {"id": passage.id, "title": passage.title, "text": passage.text}
                file.write(json.dumps(fields) + "\n")
        index.write(to, self._postings)
        settings = {"schema": SCHEMA, "terms": VERSION, "k1": self.k1, "b": self.b}
        settings |= {"fingerprint": self.fingerprint, "files": index.digests(to, FILES)}
        (to / SETTINGS_FILE).write_text(json.dumps(settings, indent=1) + "\n", encoding="ascii")

    @classmethod
    def load(cls, folder: str | Path) -> "Bm25":
        """The index that was saved in a folder; ``ValueError`` if it is not all there, or changed."""
        at = Path(folder)
        settings = _read_settings(at)
        try:
            index.require_equal(settings["files"], index.digests(at, FILES), at)
            lines = (at / PASSAGES_FILE).read_text(encoding="ascii").splitlines()
            postings = index.read(at)
        except OSError as error:
            raise ValueError(f"the BM25 index {at} is not complete ({error}); build it again") from error
        loaded = cls.__new__(cls)
        passages = tuple(Passage(**json.loads(line)) for line in lines)
        loaded._hold(passages, settings["k1"], settings["b"], postings)
        return loaded

    def _found(self, query: str, k: int) -> list[Passage]:
        scores = self._scores(query)
        best = _best(scores, k)
        found = (self._passages[number] for number in best)
        return [
            Passage(passage.id, passage.title, passage.text, float(score))
            for passage, score in zip(found, scores[best], strict=True)
        ]

    def _scores(self, query: str) -> NDArray[np.float32]:
        """Of all passages; 0 for those that hold no term of the query."""
        scores = np.zeros(len(self._passages), np.float32)
        known = self._postings.terms
        numbers = Counter(known[term] for term in terms(query) if term in known)
        # In the order of numbers, so that float sums do not depend on the order of the query's words.
        for number, times in sorted(numbers.items()):
            listed = slice(self._postings.starts[number], self._postings.starts[number + 1])
            scores[self._postings.passages[listed]] += self._weights[listed] * np.float32(times)
        return scores


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Places of the ``k`` highest scores above 0, best first; of equal ones the earlier place first."""
    least = _bound(scores, k)
    found = np.flatnonzero(scores >= least if least > 0 else scores)
    return found[np.argsort(-scores[found], kind="stable")[:k]]


def _bound(scores: NDArray[np.float32], k: int) -> float:
    """At most the k-th highest score, as k blocks hold one as high; five times faster than finding that."""
    blocks = len(scores) // BLOCK
    if blocks < k:
        return 0.0
    highest = scores[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
    return float(np.partition(highest, -k)[-k])


def _weights(postings: Postings, k1: float, b: float) -> NDArray[np.float32]:
    """What each posting adds to a score."""
    holding = np.diff(postings.starts)
    idf = np.log1p((len(postings.lengths) - holding + 0.5) / (holding + 0.5))
    relative = postings.lengths / max(postings.lengths.mean(), 1.0)
    saturation = k1 * (1.0 - b + b * relative)
    counts = postings.counts
    weights = np.repeat(idf, holding) * counts / (counts + saturation[postings.passages])
    return np.asarray(weights, np.float32)


def _fingerprint(passages: Sequence[Passage], k1: float, b: float) -> str:
    settings = [("bm25", SCHEMA), ("terms", VERSION), ("k1", repr(float(k1))), ("b", repr(float(b)))]
    contents = [(passage.id, f"{passage.title}\n{passage.text}") for passage in passages]
    return manifest.fingerprint(settings + contents)


def _require_settings(passages: Sequence[Passage], k1: float, b: float) -> None:
    if not passages:
        raise ValueError("no passages to search in: give at least one")
    if not (math.isfinite(k1) and k1 >= 0 and 0 <= b <= 1):
        raise ValueError(f"k1={k1!r}, b={b!r}: give a k1 from 0 up and a b from 0 to 1")
    twice = [name for name, times in Counter(passage.id for passage in passages).items() if times > 1]
    if twice:
        raise ValueError(f"{len(twice)} passage ids stand twice, {twice[0]!r} among them: make them unique")


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_bytes())
        known = (settings["schema"], settings["terms"]) == (SCHEMA, VERSION)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder} holds no finished BM25 index; build it with Bm25.save") from error
    if not known:
        raise ValueError(f"{folder} holds an index of another version of this program; build it again")
    return dict(settings)
