"""BM25 in NumPy: the default retriever, without further packages or processes.

The score of a passage is the sum over the query's terms (repeated terms count repeatedly) of::

    idf * count / (count + k1 * (1 - b + b * length / mean length)),   idf = ln(1 + (N - n + 0.5) / (n + 0.5))

where n of the N passages contain the term; this is Lucene's formula. All except the sum is precomputed. A
passage is indexed with its title, which is repeated ``TITLE_TIMES``. ``terms.py`` defines the terms.

Terms, title, k1 and b were chosen by recall@10 on the 200 training questions of HotpotQA and MuSiQue in the
test data: 0.705. The optimum is flat: k1 from 0.9 to 2, b from 0.6 to 0.9 and a title counted once stay
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
from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.retrieval import postings as index
from stepopsd_envs.search_qa.retrieval.base import Passage, require_k
from stepopsd_envs.search_qa.retrieval.postings import Postings
from stepopsd_envs.search_qa.retrieval.terms import VERSION, terms
from stepopsd_envs.user_path import user_path

SCHEMA = "stepopsd.bm25/1"
K1, B, TITLE_TIMES = 1.5, 0.75, 2
BLOCK = 64  # scores per block
SETTINGS_FILE = "bm25.json"  # written last: a folder without it is incomplete
PASSAGES_FILE = "passages.jsonl"
FILES = (PASSAGES_FILE, "terms.json", *(f"{name}.npy" for name in index.ARRAYS))


class Bm25:
    """A retriever over passages in memory. Results depend only on the passages, k1, b and the query.

    Args:
        passages: passages with unique ids. Of passages with equal scores the earlier ranks first.
        k1: 0 or more; saturation, the greater the more a further occurrence of a term adds.
        b: 0 to 1; strength of the normalisation by length.

    Raises:
        ValueError: there are no passages, ids are not unique, or k1 or b is out of range.
    """

    def __init__(self, passages: Iterable[Passage], k1: float = K1, b: float = B) -> None:
        as_tuple = tuple(passages)
        _require_settings(as_tuple, k1, b)
        texts = (f"{passage.title}\n" * TITLE_TIMES + passage.text for passage in as_tuple)
        self._set(as_tuple, k1, b, index.build(texts))

    def _set(self, passages: tuple[Passage, ...], k1: float, b: float, postings: Postings) -> None:
        self._passages, self._postings, self.k1, self.b = passages, postings, k1, b
        self._weights = _weights(postings, k1, b)
        self._fingerprint = _fingerprint(passages, k1, b)

    @property
    def fingerprint(self) -> str:
        """Hash of the passages and of everything else that determines a ranking."""
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._passages)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages of each query among those that contain at least one of its terms."""
        require_k(k)
        return [self._search(query, k) for query in queries]

    def close(self) -> None:
        """Do nothing: the index can be shared and stays usable."""

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is created if needed."""
        to = user_path(folder)
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
        """Load the index that was saved in a folder.

        Raises:
            ValueError: the index is incomplete, changed, or of another version.
        """
        at = user_path(folder)
        settings = _read_settings(at)
        try:
            index.require_equal(settings["files"], index.digests(at, FILES), at)
            lines = (at / PASSAGES_FILE).read_text(encoding="ascii").splitlines()
            postings = index.read(at)
        except OSError as error:
            raise ValueError(f"the BM25 index {at} is not complete ({error}); build it again") from error
        loaded = cls.__new__(cls)
        passages = tuple(Passage(**json.loads(line)) for line in lines)
        loaded._set(passages, settings["k1"], settings["b"], postings)
        return loaded

    def _search(self, query: str, k: int) -> list[Passage]:
        scores = self._scores(query)
        best = _best(scores, k)
        passages = (self._passages[number] for number in best)
        return [
            Passage(passage.id, passage.title, passage.text, float(score))
            for passage, score in zip(passages, scores[best], strict=True)
        ]

    def _scores(self, query: str) -> NDArray[np.float32]:
        """The scores of all passages; 0 for passages without any term of the query."""
        scores = np.zeros(len(self._passages), np.float32)
        known = self._postings.terms
        numbers = Counter(known[term] for term in terms(query) if term in known)
        # In the order of term numbers, so that float sums do not depend on the order of words in the query.
        for number, times in sorted(numbers.items()):
            listed = slice(self._postings.starts[number], self._postings.starts[number + 1])
            scores[self._postings.passages[listed]] += self._weights[listed] * np.float32(times)
        return scores


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Indices of the ``k`` highest scores above 0, best first; of equal scores the lower index first."""
    least = _bound(scores, k)
    candidates = np.flatnonzero(scores >= least if least > 0 else scores)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]


def _bound(scores: NDArray[np.float32], k: int) -> float:
    """A lower bound of the k-th highest score, which k blocks reach; five times faster than the exact one."""
    blocks = len(scores) // BLOCK
    if blocks < k:
        return 0.0
    highest = scores[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
    return float(np.partition(highest, -k)[-k])


def _weights(postings: Postings, k1: float, b: float) -> NDArray[np.float32]:
    """The summand of each posting in a score."""
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
        raise ValueError("there are no passages to search: give at least one")
    if not (math.isfinite(k1) and k1 >= 0 and 0 <= b <= 1):
        raise ValueError(f"k1={k1!r}, b={b!r}: give k1 of 0 or more and b from 0 to 1")
    twice = [name for name, times in Counter(passage.id for passage in passages).items() if times > 1]
    if twice:
        raise ValueError(f"{len(twice)} passage ids occur repeatedly, such as {twice[0]!r}: make them unique")


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads(plain_file(folder / SETTINGS_FILE).read_bytes())
        known = (settings["schema"], settings["terms"]) == (SCHEMA, VERSION)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder} holds no complete BM25 index; build it with Bm25.save") from error
    if not known:
        raise ValueError(f"{folder} holds an index of another version of this program; build it again")
    return dict(settings)
