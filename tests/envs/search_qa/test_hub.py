"""Questions of the Hugging Face Hub: names, rows, the copy that is kept, and life without a connection."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepopsd_envs.extras import install_command
from stepopsd_envs.search_qa import hub_questions
from stepopsd_envs.search_qa.hub_questions import (
    SEVEN_SETS,
    HubSource,
    hub_source,
    questions_from,
    read_hub,
    read_parquet,
)
from stepopsd_envs.search_qa.questions import QuestionsNotFoundError
from stepopsd_envs.search_qa.sources import load_questions

SEARCH_R1 = "PeterJinGo/nq_hotpotqa_train"
# Rows with the columns of Search-R1's data set, as far as they matter here.
ROWS = [
    {
        "id": "train_0",
        "question": "who built the mill",
        "golden_answers": ["Ada Brenk"],
        "data_source": "nq",
        "prompt": [{"role": "user", "content": "Answer"}],
        "extra_info": {"index": 0, "split": "train"},
    },
    {
        "id": "train_0",
        "question": "Where did she come from?",
        "golden_answers": ["Port Lorn", "Lorn"],
        "data_source": "hotpotqa",
        "prompt": [{"role": "user", "content": "Answer"}],
        "extra_info": {"index": 0, "split": "train"},
    },
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the data sets are read from instead, with a cache of its own."""
    pytest.importorskip("datasets", reason="datasets is not installed (extra search)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    read_hub.cache_clear()
    yield tmp_path
    read_hub.cache_clear()


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A Parquet file as the Hub has them."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return path


def test_names_stand_for_places_on_the_hub() -> None:
    """The seven sets with the splits that are evaluated on; others by their repository."""
    flashrag = "RUC-NLPIR/FlashRAG_datasets"
    assert hub_source("nq", "test") == HubSource(flashrag, "nq", "test", "nq/test.jsonl")
    assert hub_source("musique", "test") == HubSource(flashrag, "musique", "dev", "musique/dev.jsonl")
    assert hub_source("musique", "train") == HubSource(flashrag, "musique", "train", "musique/train.jsonl")
    assert hub_source(SEARCH_R1, "train") == HubSource(SEARCH_R1, "", "train", "train.parquet")
    assert hub_source("owner/name:part", "test") == HubSource("owner/name", "part", "test", "part/test.jsonl")
    assert hub_source("hotpot", "test") is hub_source("a/b/c", "test") is hub_source("../nq", "test") is None
    assert len(SEVEN_SETS) == 7
    with pytest.raises(QuestionsNotFoundError, match='split="test"'):
        hub_source("bamboogle", "train")


def test_rows_become_questions_with_ids_of_their_own() -> None:
    """The source tells equal ids apart, and is the task type."""
    first, second = questions_from(ROWS, "")
    assert (first.id, first.task_type, first.question) == ("nq_train_0", "nq", "who built the mill")
    assert (second.id, second.golden_answers) == ("hotpotqa_train_0", ("Port Lorn", "Lorn"))
    plain = {"id": "test_7", "question": "Who?", "golden_answers": ["Ada"], "metadata": {}}
    assert [q.id for q in questions_from([plain], "popqa")] == ["popqa_test_7"]
    assert [q.id for q in questions_from([plain], "")] == ["test_7"]
    with pytest.raises(ValueError, match=r"row 1 of nq: golden_answers"):
        list(questions_from([{**plain, "golden_answers": None}], "nq"))


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the cause behind it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path))
    with pytest.raises(ImportError, match=re.escape(install_command("search"))) as error:
        read_hub(HubSource("owner/other", "", "test", "test.parquet"))
    assert isinstance(error.value.__cause__, ImportError)


def test_names_that_are_nothing_are_explained() -> None:
    """With what there is."""
    with pytest.raises(QuestionsNotFoundError, match=r"bamboogle.*owner/name"):
        load_questions("hotpot", "small", "test")


def test_repository_is_streamed_and_kept(hub: Path) -> None:
    """The second reading needs no repository; the kept file is the same set."""
    file = write_parquet(hub / SEARCH_R1 / "train.parquet", ROWS)
    questions = load_questions(SEARCH_R1, "small", "train")
    assert questions.task_ids == ("hotpotqa_train_0", "nq_train_0")
    file.unlink()
    read_hub.cache_clear()
    assert load_questions(SEARCH_R1, "small", "train") == questions


def test_flashrag_set_is_streamed(hub: Path) -> None:
    """By its configuration."""
    folder = hub / hub_questions.FLASHRAG
    (folder / "nq").mkdir(parents=True)
    configs = [{"config_name": "nq", "data_files": [{"split": "test", "path": "nq/test.jsonl"}]}]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    row = {"id": "test_0", "question": "who built the mill", "golden_answers": ["Ada Brenk"]}
    (folder / "nq" / "test.jsonl").write_text(json.dumps(row) + "\n")
    questions = load_questions("nq", "small", "test")
    question = questions.find("nq_test_0")
    assert question is not None and len(questions) == 1
    assert (question.id, question.task_type, question.golden_answers) == ("nq_test_0", "nq", ("Ada Brenk",))


def test_parquet_file_is_read(hub: Path) -> None:
    """As it was fetched by hand; prompts are left aside."""
    path = write_parquet(hub / "elsewhere" / "train.parquet", ROWS)
    assert load_questions(str(path), "small", "test").task_ids == ("hotpotqa_train_0", "nq_train_0")
    with pytest.raises(QuestionsNotFoundError, match="no file"):
        read_parquet(hub / "none.parquet")


@pytest.mark.parametrize(("name", "file"), [("popqa", "popqa/test.jsonl"), (SEARCH_R1, "test.parquet")])
def test_without_a_connection_the_file_to_get_is_named(hub: Path, name: str, file: str) -> None:
    """And nothing is kept of the attempt."""
    with pytest.raises(QuestionsNotFoundError, match=f"download the file {file} from https://") as error:
        load_questions(name, "small", "test")
    assert error.value.__cause__ is not None
    assert not (hub / "cache").exists()
