"""Open an environment's ``questions``, ``retriever`` and ``corpus``; the process shares them."""

import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from stepopsd_envs.argument_types import require_path
from stepopsd_envs.disk_cache import cache_folder
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.search_qa.hub_questions import SEVEN_SETS, hub_source, read_hub, read_parquet
from stepopsd_envs.search_qa.questions import SUFFIXES, Question, QuestionsNotFoundError, read_questions
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever
from stepopsd_envs.search_qa.retrieval.errors import CorpusError
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS, MANIFEST
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from stepopsd_envs.search_qa.world import make_world, world_of
from stepopsd_envs.search_qa.world_set import FilteredWorlds, IndexedWorlds, all_passages, all_questions
from stepopsd_envs.user_path import user_path

SYNTHETIC = "synthetic"
_NAMES = (SYNTHETIC, *SEVEN_SETS)
SERVERS = ("http://", "https://")

_Key = tuple[int, str, str]  # process, retriever, corpus


class Questions(Protocol):
    """A set of questions in canonical order, sorted by id."""

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The ids in order."""

    @property
    def fingerprint(self) -> str:
        """Hash of the ids and of everything that determines the contents."""

    def __len__(self) -> int: ...

    def find(self, name: str) -> Question | None:
        """The question with this id; None if there is none."""

    def select(self, task_types: Collection[str] | None, count: int | None) -> "Questions":
        """The first ``count`` questions of these types; None: no restriction."""
        ...


class Library(Protocol):
    """The retrievers for all questions of a set."""

    @property
    def fingerprint(self) -> str:
        """Hash of the passages and of the way they are searched."""

    def of(self, question: str) -> Retriever:
        """The retriever for the question with this id."""
        ...

    def close(self) -> None:
        """Release all resources."""


class OneForAll:
    """A library with one retriever for all questions; it closes the retriever."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the retriever."""
        return self._retriever.fingerprint

    def of(self, question: str) -> Retriever:
        """The retriever, the same for every question."""
        return self._retriever

    def close(self) -> None:
        """Close the retriever."""
        self._retriever.close()


class Lease:
    """The use of a shared library by one environment; when the last lease is closed, the library is too."""

    def __init__(self, key: _Key, library: Library) -> None:
        self._key: _Key | None = key
        self.library = library

    def close(self) -> None:
        """End the use; further calls do nothing."""
        key, self._key = self._key, None
        if key is not None:
            _give_back(key)


@dataclass
class _Lent:
    library: Library
    borrowers: int = 0


_lent: dict[_Key, _Lent] = {}
_lock = threading.Lock()


def require_sources(questions: object, retriever: object, corpus: object) -> None:
    """Raise ValueError if one of an environment's arguments is of another type than it takes."""
    require_path("questions", questions, f"{SYNTHETIC!r}, a file or the name of a data set")
    if corpus is not None:
        require_path("corpus", corpus, "None, a file of passages or a folder made by `stepopsd index`")
    if not isinstance(retriever, str | Retriever):
        raise ValueError(
            f"retriever={retriever!r:.80}: give one of {', '.join(KINDS)}, http://host:port, or an object "
            "with fingerprint, search(queries, k) and close()"
        )


def load_questions(name: str, tier: str, split: str) -> Questions:
    """Load the questions of the synthetic worlds, of a file, or of a data set of the Hub.

    Raises:
        QuestionsNotFoundError: the name stands for no questions, or they cannot be read.
        ValueError: the tier or split is unknown, or a row is not a question.
    """
    try:
        path = user_path(name)
    except FileNotFoundError as error:  # of what is no path
        raise QuestionsNotFoundError(f"questions={name!r}: {error}") from error
    if name == SYNTHETIC:
        return all_questions(tier, split)
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.is_file() or name.endswith(SUFFIXES):
        return read_questions(path)
    source = hub_source(name, split)
    if source is None:
        raise QuestionsNotFoundError(
            f"questions={name!r} is neither a file nor a data set: {did_you_mean(name, _NAMES)}give "
            f"{SYNTHETIC!r}, a file ({', '.join(SUFFIXES)}, .parquet), one of {', '.join(SEVEN_SETS)}, "
            "or owner/name of a data set of the Hugging Face Hub"
        )
    return read_hub(source)


def given_passages(name: str, tier: str, split: str, ids: tuple[str, ...]) -> tuple[Passage, ...]:
    """The passages given with a question, by their ids; only synthetic questions have them."""
    if not ids or name != SYNTHETIC:
        return ()
    passages = make_world(tier, split, world_of(ids[0])).by_id
    return tuple(passages[id_] for id_ in ids)


def lend_library(retriever: str, corpus: str | None, questions: str, tier: str, split: str) -> Lease:
    """A lease of a library with a query cache; environments of a process with equal arguments share it.

    Raises:
        ValueError: there is no corpus to search.
    """
    world = questions == SYNTHETIC and corpus is None
    if corpus is None and not world and not retriever.startswith(SERVERS):
        raise ValueError(
            f"retriever={retriever!r} has nothing to search for questions={questions!r}: give corpus=PATH, a "
            "JSONL file of passages or a folder made by `stepopsd index`, or retriever='http://host:port'"
        )

    def open_it() -> Library:
        if not world or retriever.startswith(SERVERS):
            return OneForAll(CachedRetriever(open_retriever(retriever, corpus)))
        if retriever == "bm25":
            return IndexedWorlds(tier, split)
        opened = open_retriever(retriever, str(_worlds_file(tier, split)))
        return FilteredWorlds(CachedRetriever(opened), tier, split)

    # The process id is in the key: a forked process cannot share connections, so it opens its own library.
    searched = f"{SYNTHETIC}/{tier}/{split}" if world else _state(corpus)
    return _lend((os.getpid(), retriever, searched), open_it)


def _state(corpus: str | None) -> str:
    """A corpus as it is now: another one at its path, or in another folder, is not shared with it."""
    if corpus is None:
        return ""
    try:
        path = user_path(corpus).absolute()
    except FileNotFoundError as error:  # of what is no path
        raise CorpusError(f"corpus={corpus!r}: {error}") from error
    file = path / MANIFEST if path.is_dir() else path  # of an index, what is written last
    if not file.exists():
        return str(path)  # opening it says what is wrong
    stat = file.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _lend(key: _Key, open_it: Callable[[], Library]) -> Lease:
    with _lock:
        lent = _lent.get(key) or _Lent(open_it())
        _lent[key] = lent
        lent.borrowers += 1
    return Lease(key, lent.library)


def _give_back(key: _Key) -> None:
    with _lock:
        lent = _lent[key]
        lent.borrowers -= 1
        if lent.borrowers:
            return
        del _lent[key]
    lent.library.close()


def _worlds_file(tier: str, split: str) -> Path:
    """Write the passages of all worlds to a file, named by its hash, for retrievers in other processes."""
    rows = ({"id": p.id, "title": p.title, "text": p.text} for p in all_passages(tier, split))
    content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
    folder = (cache_folder() or Path(tempfile.gettempdir()) / "stepopsd") / "worlds"
    path = folder / f"{tier}-{split}-{blake2b(content, digest_size=8).hexdigest()}.jsonl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    return path
