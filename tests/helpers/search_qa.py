"""A small library with questions about it, files of both, and Search-QA environments on them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever, RetrieverError
from stepopsd_envs.search_qa.sources import _lent

PASSAGES = (
    Passage("mill", "Old Mill of Sandor", "The Old Mill of Sandor was built by Ada Brenk in 1874."),
    Passage("ada", "Ada Brenk", "Ada Brenk was an engineer from Port Lorn."),
    Passage("lorn", "Port Lorn", "Port Lorn is a harbour town on the river Wend."),
    Passage("wend", "Wend", "The Wend is a river of 212 kilometres."),
)
ROWS = (
    {"id": "q1", "question": "Who built the Old Mill of Sandor?", "golden_answers": ["Ada Brenk", "Brenk"]},
    {
        "id": "q2",
        "question": "Where did the builder of the Old Mill of Sandor come from?",
        "golden_answers": ["Port Lorn"],
        "supporting": ["mill", "ada"],
        "task_type": "2-hop",
    },
    {
        "id": "q3",
        "question": "How long is the Wend?",
        "golden_answers": "212 kilometres",
        "supporting": ["wend"],
    },
)


class Library:
    """A retriever that finds the passages a query shares a word with, and notes what it was asked."""

    def __init__(self, passages: Sequence[Passage] = PASSAGES) -> None:
        self.passages = list(passages)
        self.asked: list[str] = []
        self.closed = 0
        self.broken = False

    @property
    def fingerprint(self) -> str:
        """Always the same library."""
        return "library"

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """In the order of the passages; no answer while it is broken."""
        if self.broken:
            raise RetrieverError("the library is closed", transient=True)
        self.asked += queries
        return [self._found(query)[:k] for query in queries]

    def close(self) -> None:
        """Count."""
        self.closed += 1

    def _found(self, query: str) -> list[Passage]:
        words = set(query.lower().split())
        return [p for p in self.passages if words & set(f"{p.title} {p.text}".lower().split())]


def write_rows(path: Path, rows: Sequence[Any] = ROWS) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def library_env(folder: Path, retriever: Retriever | None = None, **kwargs: Any) -> SearchQAEnv:
    """An environment on the three questions."""
    file = write_rows(folder / "questions.jsonl")
    return SearchQAEnv(questions=file, retriever=retriever or Library(), **kwargs)


def searched_files(folder: Path) -> tuple[Path, Path]:
    """The three questions and the passages, as files."""
    corpus = [{"id": p.id, "title": p.title, "text": p.text} for p in PASSAGES]
    return write_rows(folder / "questions.jsonl"), write_rows(folder / "corpus.jsonl", corpus)


def is_held(corpus: Path) -> bool:
    """Whether an environment of this process holds a retriever of this corpus open."""
    return any(str(corpus) in searched for _, _, searched in _lent)


def search(query: str) -> str:
    """A response that searches."""
    return f"<think>I need to look it up.</think>\n<search>{query}</search>"


def answer(text: str) -> str:
    """A response that answers."""
    return f"<think>I know.</think>\n<answer>{text}</answer>"
