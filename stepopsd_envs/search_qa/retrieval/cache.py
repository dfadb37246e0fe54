"""A cache of search results: the episodes of a group have the same question, and often the same queries."""

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path

from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever, require_k
from stepopsd_envs.user_path import user_path

Answer = tuple[Passage, ...]
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, passages TEXT NOT NULL) WITHOUT ROWID"
_WAIT_S = 10.0  # seconds to wait for other processes that write


class CachedRetriever:
    """A cache in front of another retriever, to be shared by environments.

    Failures are not cached. Threads may share an object; processes may share the file, with an object each.

    Args:
        retriever: the underlying retriever; ``close`` closes it.
        size: greatest number of answers in memory; the least recently used are dropped.
        path: an SQLite file that keeps all answers for later runs; created if needed. Answers of another
            ``fingerprint`` are ignored, so several retrievers may share a file. None: memory only.

    Raises:
        ValueError: ``size`` is not a positive integer, or ``path`` is not a cache file.
    """

    def __init__(self, retriever: Retriever, size: int = 10_000, path: str | Path | None = None) -> None:
        if type(size) is not int or size < 1:
            raise ValueError(f"size={size!r}: give a positive number of answers")
        self._retriever, self._size = retriever, size
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._file = None if path is None else AnswerFile(user_path(path))
        self._lock = threading.Lock()
        self.hits = self.misses = 0  # queries answered from the cache, and by the retriever

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the underlying retriever, since the results are the same."""
        return self._retriever.fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The results of the underlying retriever, which gets all unknown queries in one call."""
        require_k(k)
        fingerprint = self.fingerprint
        keys = [_key(fingerprint, k, query) for query in queries]
        known = self._known(set(keys))
        unknown = {key: query for key, query in zip(keys, queries, strict=True) if key not in known}
        self._count(len(keys), sum(key in unknown for key in keys))
        if unknown:
            answers = self._retriever.search(list(unknown.values()), k)
            new = {key: tuple(answer) for key, answer in zip(unknown, answers, strict=True)}
            self._keep(new)
            known |= new
        return [list(known[key]) for key in keys]

    def close(self) -> None:
        """Close the underlying retriever and the file."""
        if self._file is not None:
            self._file.close()
        self._retriever.close()

    def _count(self, asked: int, missed: int) -> None:
        with self._lock:
            self.hits, self.misses = self.hits + asked - missed, self.misses + missed

    def _known(self, keys: set[bytes]) -> dict[bytes, Answer]:
        with self._lock:
            known = {key: self._answers[key] for key in keys if key in self._answers}
            for key in known:
                self._answers.move_to_end(key)
            if self._file is not None and len(known) < len(keys):
                read = self._file.read(keys - known.keys())
                self._remember(read)
                known |= read
        return known

    def _keep(self, answers: dict[bytes, Answer]) -> None:
        with self._lock:
            self._remember(answers)
            if self._file is not None:
                self._file.write(answers)

    def _remember(self, answers: dict[bytes, Answer]) -> None:
        self._answers.update(answers)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)


class AnswerFile:
    """Answers in an SQLite file. If the file is busy or full, the answers are just not saved or found.

    Raises:
        ValueError: the file is not an SQLite file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Autocommit; CachedRetriever's lock serialises its threads.
            self._connection = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute(_TABLE)
        except sqlite3.Error as error:
            raise ValueError(
                f"{path} is not a cache of answers ({error}); give another file or delete it"
            ) from error

    def read(self, keys: set[bytes]) -> dict[bytes, Answer]:
        """The answers with these keys, as far as they are in the file."""
        answers = {}
        for key in keys:
            with suppress(sqlite3.Error, ValueError, TypeError):
                with closing(self._connection.execute(_SELECT, (key,))) as rows:
                    row = rows.fetchone()
                if row is not None:
                    answers[key] = tuple(Passage(*fields) for fields in json.loads(row[0]))
        return answers

    def write(self, answers: dict[bytes, Answer]) -> None:
        """Add answers to the file."""
        rows = [(key, json.dumps([_fields(p) for p in answer])) for key, answer in answers.items()]
        with suppress(sqlite3.Error):
            self._connection.executemany(_INSERT, rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


_SELECT = "SELECT passages FROM answers WHERE key = ?"
_INSERT = "INSERT OR REPLACE INTO answers VALUES (?, ?)"


def _fields(passage: Passage) -> tuple[str, str, str, float]:
    return passage.id, passage.title, passage.text, passage.score


def _key(fingerprint: str, k: int, query: str) -> bytes:
    """The key of a query; a hash, since SQLite refuses texts with lone surrogates."""
    return blake2b(f"{fingerprint} {k} {query}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
