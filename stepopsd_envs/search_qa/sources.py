"""What ``questions``, ``retriever`` and ``corpus`` stand for, and what environments share of it."""

import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from stepopsd_envs.disk_cache import cache_folder
from stepopsd_envs.search_qa.hub_questions import SEVEN_SETS, hub_source, read_hub, read_parquet
from stepopsd_envs.search_qa.questions import (
    SUFFIXES,
    QuestionSet,
    QuestionsNotFoundError,
    canonical,
    read_questions,
)
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from stepopsd_envs.search_qa.world import make_world

SYNTHETIC = "synthetic"
SERVERS = ("http://", "https://")

_Key = tuple[int, str, str]  # process, retriever, corpus


class Lease:
    """A retriever that several environments may use; the last one to give it back closes it."""

    def __init__(self, key: _Key, retriever: Retriever) -> None:
        self._key: _Key | None = key
        self.retriever = retriever

    def close(self) -> None:
        """Give it back; doing so again does nothing."""
        key, self._key = self._key, None
        if key is not None:
            _give_back(key)


@dataclass
class _Lent:
    retriever: Retriever
    borrowers: int = 0


_lent: dict[_Key, _Lent] = {}
_lock = threading.Lock()


def load_questions(name: str, tier: str, split: str) -> QuestionSet:
    """The questions that a name stands for: the synthetic world's, a file's or a data set's of the Hub."""
    path = Path(name)
    if name == SYNTHETIC:
        return _synthetic_questions(tier, split)
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.is_file() or name.endswith(SUFFIXES):
        return read_questions(path)
    source = hub_source(name, split)
    if source is None:
        raise QuestionsNotFoundError(
            f"questions={name!r} is no file and no data set: give {SYNTHETIC!r}, a file "
            f"({', '.join(SUFFIXES)}, .parquet), one of {', '.join(SEVEN_SETS)}, or owner/name of a data set "
            "of the Hugging Face Hub"
        )
    return read_hub(source)


def given_passages(name: str, tier: str, split: str, ids: tuple[str, ...]) -> tuple[Passage, ...]:
    """The passages that come with a question, by their ids; only the synthetic world has such questions."""
    return tuple(_world_passages(tier, split)[id_] for id_ in ids) if ids and name == SYNTHETIC else ()


def lend_retriever(retriever: str, corpus: str | None, questions: str, tier: str, split: str) -> Lease:
    """A retriever opened once for all environments of this process that want the same, with a query cache."""
    world = questions == SYNTHETIC and corpus is None
    if corpus is None and not world and not retriever.startswith(SERVERS):
        raise ValueError(
            f"retriever={retriever!r} has nothing to search for questions={questions!r}: give corpus=, a "
            "JSONL file of passages or a folder made by `stepopsd index`, or retriever='http://host:port'"
        )

    def open_it() -> Retriever:
        if not world or retriever.startswith(SERVERS):
            return CachedRetriever(open_retriever(retriever, corpus))
        if retriever == "bm25":
            return CachedRetriever(_world_index(tier, split))
        return CachedRetriever(open_retriever(retriever, str(_world_file(tier, split))))

    # A forked process opens its own: two cannot share a connection.
    return _lend((os.getpid(), retriever, f"{SYNTHETIC}/{tier}/{split}" if world else str(corpus)), open_it)


def _lend(key: _Key, open_it: Callable[[], Retriever]) -> Lease:
    with _lock:
        lent = _lent.get(key) or _Lent(open_it())
        _lent[key] = lent
        lent.borrowers += 1
    return Lease(key, lent.retriever)


def _give_back(key: _Key) -> None:
    with _lock:
        lent = _lent[key]
        lent.borrowers -= 1
        if lent.borrowers:
            return
        del _lent[key]
    lent.retriever.close()


@lru_cache(maxsize=8)
def _synthetic_questions(tier: str, split: str) -> QuestionSet:
    return canonical(make_world(tier, split).questions)


@lru_cache(maxsize=8)
def _world_passages(tier: str, split: str) -> dict[str, Passage]:
    return {passage.id: passage for passage in make_world(tier, split).passages}


@lru_cache(maxsize=4)  # kept when no environment is open: a run opens and closes many
def _world_index(tier: str, split: str) -> Bm25:
    return Bm25(make_world(tier, split).passages)


def _world_file(tier: str, split: str) -> Path:
    """The passages of a world as a file, for retrievers that run elsewhere; named after its content."""
    rows = ({"id": p.id, "title": p.title, "text": p.text} for p in make_world(tier, split).passages)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
    folder = (cache_folder() or Path(tempfile.gettempdir()) / "stepopsd") / "worlds"
    path = folder / f"{tier}-{split}-{blake2b(content, digest_size=8).hexdigest()}.jsonl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    return path
