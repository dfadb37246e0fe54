"""Questions from the Hugging Face Hub, streamed with ``datasets``.

The columns read are the id, ``question`` and ``golden_answers``, as in the data sets of Search-R1 and
FlashRAG, and ``data_source``, the set that a row comes from. The source prefix makes the id unique:
``nq_test_17``. A set that was read is kept in the cache folder, so later runs need no connection; delete
``questions`` there to read it again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from stepopsd_envs.disk_cache import read_cached, write_cached
from stepopsd_envs.extras import install_command
from stepopsd_envs.search_qa.json_lines import ID_KEYS
from stepopsd_envs.search_qa.questions import (
    Question,
    QuestionSet,
    QuestionsNotFoundError,
    canonical,
    question_from,
)

FLASHRAG = "RUC-NLPIR/FlashRAG_datasets"
# The seven sets of the papers: the split for evaluation, and whether there is a training split.
SEVEN_SETS = {
    "nq": ("test", True),
    "triviaqa": ("test", True),
    "popqa": ("test", False),
    "hotpotqa": ("dev", True),
    "2wikimultihopqa": ("dev", True),
    "musique": ("dev", True),
    "bamboogle": ("test", False),
}
COLUMNS = (*ID_KEYS, "question", "golden_answers", "data_source")
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*(:\w[\w.-]*)?")


class HubSource(NamedTuple):
    """The location of a set of questions on the Hub."""

    repository: str
    config: str  # empty: the repository has only one
    split: str  # its name on the Hub
    file: str  # to be downloaded by hand if there is no connection

    @property
    def address(self) -> str:
        """Address of the data set for a browser."""
        return f"https://huggingface.co/datasets/{self.repository}"


def hub_source(name: str, split: str) -> HubSource | None:
    """The source for a name; None if the name cannot be that of a data set.

    Args:
        name: one of ``SEVEN_SETS``, or ``owner/repository``, with ``:configuration`` if there are several.
        split: ``"train"`` or ``"test"``.

    Raises:
        QuestionsNotFoundError: the set has no training split.
    """
    if name in SEVEN_SETS:
        evaluated, trainable = SEVEN_SETS[name]
        if split == "train" and not trainable:
            raise QuestionsNotFoundError(f'{name} has no questions to train on; give split="test"')
        hub_split = "train" if split == "train" else evaluated
        return HubSource(FLASHRAG, name, hub_split, f"{name}/{hub_split}.jsonl")
    if not _REPOSITORY.fullmatch(name):
        return None
    repository, _, config = name.partition(":")
    return HubSource(repository, config, split, f"{config}/{split}.jsonl" if config else f"{split}.parquet")


@lru_cache(maxsize=8)
def read_hub(source: HubSource) -> QuestionSet:
    """The questions of a source from the cache, else streamed from the Hub and cached.

    Raises:
        QuestionsNotFoundError: the set cannot be read from the Hub.
        ImportError: the package ``datasets`` is missing.
        ValueError: a row is not a question.
    """
    name = "-".join(filter(None, (source.repository.replace("/", "--"), source.config, source.split)))
    cache_file = f"questions/{name}.json"
    rows = read_cached(cache_file)
    if isinstance(rows, list):
        where = f"{cache_file} in the cache folder"
        return canonical((question_from(row, where) for row in rows), where)
    questions = canonical(questions_from(_streamed(source), source.config), source.address)
    write_cached(cache_file, [_row(question) for question in questions.questions])
    return questions


def read_parquet(path: Path) -> QuestionSet:
    """The questions of a Parquet file from the Hub.

    Raises:
        QuestionsNotFoundError: there is no such file.
        ImportError: the package ``datasets`` is missing.
        ValueError: a row is not a question.
    """
    if not path.is_file():
        raise QuestionsNotFoundError(f"there is no file of questions {str(path)!r}; give an existing file")
    state = path.stat()
    return _read_parquet(path, state.st_mtime_ns, state.st_size)


def questions_from(rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[Question]:
    """Questions from rows; ``name`` is the source of rows without ``data_source``."""
    for number, row in enumerate(rows, start=1):
        source = str(row.get("data_source") or name)
        where = f"row {number} of {name or 'the data set'}"
        question = question_from({key: row[key] for key in COLUMNS if key in row}, where)
        if source:
            prefix = "" if question.id.startswith(f"{source}_") else f"{source}_"
            question = replace(question, id=prefix + question.id, task_type=source)
        yield question


@lru_cache(maxsize=4)
def _read_parquet(path: Path, _modified: int, _size: int) -> QuestionSet:
    datasets = _datasets()
    rows = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    return canonical(questions_from(_narrow(rows), ""), str(path))


def _streamed(source: HubSource) -> Iterator[Mapping[str, Any]]:
    datasets = _datasets()
    try:
        config = source.config or None
        rows = datasets.load_dataset(source.repository, config, split=source.split, streaming=True)
        yield from _narrow(rows)
    except Exception as problem:  # a dozen classes, from the network, proxies, the Hub and its files
        place = f"{source.repository} ({source.config or 'default'}, split {source.split})"
        raise QuestionsNotFoundError(
            f"{place} cannot be read from the Hugging Face Hub: {type(problem).__name__}: {problem!s:.200}. "
            f"Without a connection: download the file {source.file} from {source.address} on another machine "
            f'and give its path, questions="path/to/{Path(source.file).name}"'
        ) from problem


def _narrow(rows: Any) -> Any:
    """Drop the columns that are not read: prompts and contexts are most of such a file."""
    names = rows.column_names
    return rows if names is None else rows.select_columns([name for name in names if name in COLUMNS])


def _row(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "question": question.question,
        "golden_answers": list(question.golden_answers),
        "task_type": question.task_type,
    }


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as problem:
        raise ImportError(
            "data sets of the Hugging Face Hub and Parquet files need the package datasets: "
            f"{install_command('search')}; JSONL files need nothing"
        ) from problem
    return datasets
