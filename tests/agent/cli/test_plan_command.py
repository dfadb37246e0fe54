"""`stepopsd plan` refuses what the run itself would refuse, in the same words."""

import json
from pathlib import Path

import pytest

from stepopsd_agent.cli.main import main
from tests.helpers.search_qa import PASSAGES, ROWS, write_rows


def _said(command: list[str], settings: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command, *settings]) == 2
    said = capsys.readouterr()
    assert not said.out
    return said.err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "questions.jsonl holds no question; give one with at least one question"),
        ([ROWS[0], ROWS[0]], "questions.jsonl have the id 'q1'; rename or remove one of them"),
        ([{"id": "q1", "question": "Who?"}], "questions.jsonl, line 1: golden_answers is None"),
    ],
)
def test_plan_refuses_questions_as_the_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[object], words: str
) -> None:
    """A set that is empty or broken is not one that is yet to be fetched."""
    corpus = write_rows(tmp_path / "corpus.jsonl", [{"id": p.id, "text": p.text} for p in PASSAGES])
    questions = write_rows(tmp_path / "questions.jsonl", rows)
    settings = ["--env.id", "stepopsd/SearchQA-v0", "--env.questions", str(questions)]
    settings += ["--env.corpus", str(corpus)]
    planned = _said(["plan"], settings, capsys)
    trained = _said(["train", "--out", str(tmp_path / "run")], settings, capsys)
    assert words in planned and planned.count("\n") == 1
    assert planned == trained
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["stepopsd/ALFWorld-v0", "stepopsd/SearchQA-v0"])
def test_plan_names_an_argument_as_its_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A type of tasks that the environment does not have, in one line and not in a trace."""
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"env": {"id": name, "tier": "tiny", "task_types": ["none"]}}))
    planned = _said(["plan"], ["--config", str(file)], capsys)
    assert "env.task_types has 'none': give None or some of" in planned
    assert planned == _said(["train", "--out", str(tmp_path / "run")], ["--config", str(file)], capsys)


def test_plan_takes_generated_texts_for_questions_that_are_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be fetched later; what is assumed is said."""
    settings = ["--env.id", "stepopsd/SearchQA-v0", "--env.questions", str(tmp_path / "later.jsonl")]
    assert main(["plan", *settings, "--rate", "1"]) == 0
    assert "texts of generated tasks, as the real ones are not at hand" in capsys.readouterr().out
