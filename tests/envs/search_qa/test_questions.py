"""Sets of questions: files, their order, their hashes and what is wrong with them."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from stepopsd_envs.search_qa.questions import (
    EmptyQuestionsError,
    Hop,
    Question,
    QuestionSet,
    QuestionsNotFoundError,
    canonical,
    read_questions,
)
from tests.helpers.search_qa import ROWS, write_rows

GOOD = dict(ROWS[1])


def test_read_questions_fills_in_what_a_row_leaves_out(tmp_path: Path) -> None:
    """Answers may be one text or several; keys of other programs do not matter."""
    rows = [*ROWS, {**GOOD, "id": "q0", "context": [1], "metadata": {"a": None}}]
    questions = read_questions(write_rows(tmp_path / "some.jsonl", rows))
    assert questions.task_ids == ("q0", "q1", "q2", "q3")
    assert questions.by_id["q1"] == Question("q1", str(ROWS[0]["question"]), ("Ada Brenk", "Brenk"))
    assert questions.by_id["q2"].supporting == ("mill", "ada")
    assert questions.by_id["q2"].task_type == "2-hop"
    assert questions.by_id["q3"].golden_answers == ("212 kilometres",)


@pytest.mark.parametrize("ids", [{"id": 7}, {"_id": "7"}, {"docid": 7}, {"id": None, "_id": 7}])
def test_read_questions_takes_ids_as_corpora_do(tmp_path: Path, ids: dict[str, Any]) -> None:
    """Numbers and the names of other programs, also for the gold passages; a byte order mark is skipped."""
    row = {**ids, "question": "Who?", "golden_answers": "Ada", "supporting": [3, "x"], "task_type": None}
    (tmp_path / "some.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode())
    (question,) = read_questions(tmp_path / "some.jsonl").questions
    assert question == Question("7", "Who?", ("Ada",), ("3", "x"))


def test_read_questions_unpacks(tmp_path: Path) -> None:
    """By the file's ending."""
    plain = write_rows(tmp_path / "some.jsonl")
    packed = tmp_path / "some.jsonl.gz", tmp_path / "some.jsonl.xz"
    packed[0].write_bytes(gzip.compress(plain.read_bytes()))
    packed[1].write_bytes(lzma.compress(plain.read_bytes()))
    assert read_questions(plain) == read_questions(packed[0]) == read_questions(packed[1])


def test_questions_have_one_order_and_one_fingerprint(tmp_path: Path) -> None:
    """Whatever the order of the lines; any change of content changes it."""
    one = read_questions(write_rows(tmp_path / "a.jsonl"))
    other = read_questions(write_rows(tmp_path / "b.jsonl", ROWS[::-1]))
    assert one == other and one.fingerprint == other.fingerprint
    changed = [*ROWS[:2], {**ROWS[2], "golden_answers": ["211 kilometres"]}]
    assert read_questions(write_rows(tmp_path / "c.jsonl", changed)).fingerprint != one.fingerprint
    question = one.questions[0]
    hop = Hop("query", "mill")
    assert len({question.digest, Question(**{**_fields(question), "hops": (hop,)}).digest}) == 2


def _fields(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in ("id", "question", "golden_answers", "task_type")}


def test_read_questions_notices_a_changed_file(tmp_path: Path) -> None:
    """A set that was read is kept, but not when the file has changed."""
    path = write_rows(tmp_path / "some.jsonl")
    first = read_questions(path)
    assert read_questions(path) is first
    write_rows(path, ROWS[:1])
    assert read_questions(path).task_ids == ("q1",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("3", "line 2: got b'3'; each line must be an object"),
        (json.dumps({**GOOD, "id": ""}), "line 2: 'id' is ''"),
        (json.dumps({**GOOD, "id": 7.5}), "line 2: 'id' is 7.5"),
        (
            json.dumps({"q": "Who?", "a": "Ada"}),
            "line 2: there is no id; the keys are 'q', 'a'; give id, _id",
        ),
        (json.dumps({"id": 1, "query": "Who?"}), "question is None.*the keys are 'id', 'query'"),
        (json.dumps({**GOOD, "question": None}), "line 2: question is None"),
        (json.dumps({**GOOD, "golden_answers": []}), "line 2: golden_answers is empty"),
        (json.dumps({**GOOD, "golden_answers": [""]}), "line 2: golden_answers is .*blank text.*remove it"),
        (json.dumps({**GOOD, "golden_answers": ["Ada", " \t"]}), "line 2: golden_answers is .*blank text"),
        (json.dumps({**GOOD, "golden_answers": ""}), "line 2: golden_answers is .*blank text"),
        (json.dumps({**GOOD, "golden_answers": [3]}), r"line 2: golden_answers is \[3\]"),
        (json.dumps({"id": "x", "question": "y"}), "line 2: golden_answers is None"),
        (json.dumps({**GOOD, "supporting": {"a": 1}}), "line 2: 'supporting' is"),
        (json.dumps({**GOOD, "task_type": 1}), "line 2: task_type is 1"),
        (json.dumps({**GOOD, "id": "q1"}), r"two questions of .*some\.jsonl have the id 'q1'"),
    ],
)
def test_read_questions_names_the_bad_line(tmp_path: Path, line: str, message: str) -> None:
    """Bad content is one error, with the place and what belongs there."""
    path = tmp_path / "some.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_questions(path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("torn.jsonl.gz", "damaged or truncated after line"),
        ("torn.jsonl.xz", "damaged or truncated after line"),
        ("binary.jsonl", "line 1: not JSON"),
    ],
)
def test_read_questions_refuses_what_is_no_text(tmp_path: Path, name: str, problem: str) -> None:
    """A download that was cut off, or another kind of file."""
    path, text = tmp_path / name, write_rows(tmp_path / "some.jsonl").read_bytes()
    packed = {".gz": gzip.compress(text)[:-9], ".xz": lzma.compress(text)[:-20]}
    path.write_bytes(packed.get(path.suffix, b"\xff\xfe\x00"))
    with pytest.raises(ValueError, match=problem):
        read_questions(path)


def test_read_questions_says_when_there_is_nothing(tmp_path: Path) -> None:
    """No file, no line; the second is known from the first, and named."""
    with pytest.raises(QuestionsNotFoundError, match="no file of questions"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(EmptyQuestionsError, match=r"/empty\.jsonl holds no question; give one with"):
        read_questions(write_rows(tmp_path / "empty.jsonl", []))


def test_select_keeps_types_then_counts(tmp_path: Path) -> None:
    """The first ones in canonical order."""
    questions = read_questions(write_rows(tmp_path / "some.jsonl"))
    assert questions.select(None, None) == questions
    assert questions.select(["question"], 1).task_ids == ("q1",)
    assert questions.select(("2-hop", "question"), 2).task_ids == ("q1", "q2")
    for types, count, message in ((["3-hop"], None, "3-hop"), ([], None, "empty list"), (None, 4, "only 3")):
        with pytest.raises(ValueError, match=message):
            questions.select(types, count)


def test_question_set_is_sorted_or_refused() -> None:
    """``canonical`` makes it so."""
    one, other = (Question(name, "Who?", ("Ada",)) for name in "ba")
    with pytest.raises(ValueError, match="canonical"):
        QuestionSet((one, other))
    assert canonical([one, other]).task_ids == ("a", "b")


def test_question_files_of_the_test_data_are_read(test_data: Path) -> None:
    """All of them, with as many questions as they have lines."""
    files = sorted((test_data / "searchqa" / "questions").glob("*.jsonl"))
    assert len(files) == 12
    for file in files:
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        assert len(read_questions(file).questions) == len(lines)
    assert all(question.supporting for question in read_questions(files[2]).questions)
