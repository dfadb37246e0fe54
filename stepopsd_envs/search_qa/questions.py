"""Questions with their answers, and sets of questions from JSONL files.

A JSONL file (see ``json_lines.py``) has one question per line: an id, ``question``, ``golden_answers`` (a
text or a list of texts) and, if known, ``supporting`` (ids of the gold passages) and ``task_type``. Other
keys are ignored.
``hub_questions.py`` reads data sets of the Hugging Face Hub; ``world_set.py`` has the synthetic questions.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

from stepopsd_envs.manifest import GamesNotFoundError, fingerprint
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.search_qa.json_lines import fields_of, id_text, read_rows, row_id

QUESTION = "question"  # task type of a question without one
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.xz")


class QuestionsNotFoundError(GamesNotFoundError):
    """There is no question to ask; the message says where it was looked for and what to do."""


class EmptyQuestionsError(QuestionsNotFoundError):
    """The set is there, and no question is in it: to fetch it again would not help."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One search on the way to an answer.

    Attributes:
        query: taken from the question or from passages of earlier hops.
        passage: id of the passage to find.
    """

    query: str
    passage: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its annotations; the agent sees only its text and the given passages.

    Attributes:
        id: unique within its set.
        question: the text.
        golden_answers: the correct answers; any of them counts.
        supporting: ids of the gold passages, which together answer it; empty if unknown.
        task_type: its row in tables of results.
        given: ids of the passages shown in the first observation.
        hops: searches that lead to the answer; empty if unknown.
    """

    id: str
    question: str
    golden_answers: tuple[str, ...]
    supporting: tuple[str, ...] = ()
    task_type: str = QUESTION
    given: tuple[str, ...] = ()
    hops: tuple[Hop, ...] = ()

    def __post_init__(self) -> None:
        if not all(answer.strip() for answer in self.golden_answers):
            raise ValueError(
                f"golden_answers is {list(self.golden_answers)!r:.80}, with a blank text, which any answer "
                "without words would match; remove it"
            )

    @property
    def digest(self) -> str:
        """Hash of all fields: 32 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True)  # ASCII, so lone surrogates do not raise
        return blake2b(text.encode("ascii"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class QuestionSet:
    """Questions in canonical order, sorted by id."""

    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        ids = [question.id for question in self.questions]
        if ids != sorted(set(ids)):
            raise ValueError("the questions are not sorted, or two have the same id: use canonical()")

    def __len__(self) -> int:
        return len(self.questions)

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(question.id for question in self.questions)

    @cached_property
    def by_id(self) -> Mapping[str, Question]:
        """The questions by their ids."""
        return {question.id: question for question in self.questions}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids and contents."""
        return fingerprint((question.id, question.digest) for question in self.questions)

    def find(self, name: str) -> Question | None:
        """The question with this id; None if there is none."""
        return self.by_id.get(name)

    def select(self, task_types: Collection[str] | None, count: int | None) -> "QuestionSet":
        """The first ``count`` questions of these types; None: no restriction."""
        types = {question.id: question.task_type for question in self.questions}
        return QuestionSet(tuple(self.by_id[name] for name in select_ids(types, task_types, count)))


def select_ids(
    types: Mapping[str, str], task_types: Collection[str] | None, count: int | None
) -> tuple[str, ...]:
    """The first ``count`` ids whose type is one of ``task_types``; None: no restriction.

    Args:
        types: type of each id, in canonical order.
        task_types: types to keep.
        count: number of ids to keep.

    Raises:
        ValueError: a type does not occur, the types are empty, or there are fewer than ``count`` ids.
    """
    known = set(types.values())
    unknown = sorted(set(task_types or ()) - known)
    if unknown or (task_types is not None and not task_types):
        got = ", ".join(map(repr, unknown)) or "an empty list"
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise ValueError(f"task_types has {got}: {hint}give None or some of {', '.join(sorted(known))}")
    kept = tuple(name for name, kind in types.items() if task_types is None or kind in task_types)
    if count is not None and count > len(kept):
        raise ValueError(
            f"num_questions={count}, but there are only {len(kept)} questions; give at most {len(kept)}"
        )
    return kept[:count]


def canonical(questions: Iterable[Question], source: str = "the set") -> QuestionSet:
    """Make a set of questions, sorted by id; ``source`` names where they are from in errors.

    Raises:
        EmptyQuestionsError: there are no questions.
        ValueError: two questions have the same id.
    """
    ordered = sorted(questions, key=lambda question: question.id)
    if not ordered:
        raise EmptyQuestionsError(f"{source} holds no question; give one with at least one question")
    for previous, following in pairwise(ordered):
        if previous.id == following.id:
            raise ValueError(
                f"two questions of {source} have the id {previous.id!r}; rename or remove one of them"
            )
    return QuestionSet(tuple(ordered))


def read_questions(path: Path) -> QuestionSet:
    """The questions of a JSONL file, plain or compressed with gzip or xz.

    The set is cached until the file changes; the environments of a process share it.

    Raises:
        QuestionsNotFoundError: the file does not exist.
        EmptyQuestionsError: it has no questions.
        ValueError: the file cannot be read, or a line is not a question.
    """
    if not path.is_file():
        raise QuestionsNotFoundError(
            f"there is no file of questions {str(path)!r}; give a file with one question per line (JSONL)"
        )
    state = path.stat()
    return _read_questions(path, state.st_mtime_ns, state.st_size)


def question_from(row: Mapping[str, Any], where: str) -> Question:
    """Make a question from a row of a file; ``where`` names the row in errors.

    Raises:
        ValueError: a field is missing or has a wrong type.
    """
    try:
        return Question(
            id=row_id(row),
            question=_text(row, "question"),
            golden_answers=_texts(row, "golden_answers"),
            supporting=_ids(row, "supporting"),
            task_type=QUESTION if row.get("task_type") is None else _text(row, "task_type"),
        )
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from problem


@lru_cache(maxsize=8)
def _read_questions(path: Path, _modified: int, _size: int) -> QuestionSet:
    return canonical((question_from(row, where) for where, row in read_rows(path)), str(path))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {value!r:.80}; give a text that is not empty ({fields_of(row)})")
    return value


def _texts(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = row.get(key)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key} is {value!r:.80}; give a text or a list of texts ({fields_of(row)})")
    if not texts:
        raise ValueError(f"{key} is empty; give one or more")
    return tuple(texts)


def _ids(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = row.get(key)
    if value is None:
        return ()
    ids = value if isinstance(value, list | tuple) else [value]
    return tuple(id_text(identifier, key) for identifier in ids)
