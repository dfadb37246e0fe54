"""``stepopsd import``: transcripts in the style of Search-R1 become records, and say what they lack."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.batch import collate
from stepopsd_envs.step_info import text_hash
from stepopsd_wrappers import Episode, read_episodes
from stepopsd_wrappers.search_r1_import import cut
from tests.helpers.command_line import refusal, run

PROMPT = (
    "Answer the given question. You can search by <search> query </search> and give the answer inside "
    "<answer> and </answer>, for example, <answer> Beijing </answer>. Question: Who wrote Emma?\n"
)
NOTE = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and "
    "</search>. If I want to give the final answer, I should put the answer between <answer> and </answer>. "
    "Let me try again.\n"
)
FIRST = "<think>I have to look.</think>\n<search> Emma novel </search>"
PASSAGES = '\n\n<information>Doc 1(Title: "Emma") A novel by Jane Austen.</information>\n\n'
LAST = "<think>So she did.</think>\n<answer> jane austen </answer>"
RIGHT = {"prompt": PROMPT, "response": FIRST + PASSAGES + LAST, "golden_answers": ["Jane Austen"]}


def imported(tmp_path: Path, *rows: dict[str, Any]) -> list[Episode]:
    """The records that the command makes of these rows."""
    path = tmp_path / "transcripts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run("import", str(path), "--from=search-r1", f"--out={tmp_path / 'out'}") == 0
    return list(read_episodes(tmp_path / "out"))


def test_import_cuts_where_the_environment_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Responses and observations together are the text; the last step is judged; nothing is invented."""
    (episode,) = imported(tmp_path, RIGHT)
    assert "1 episodes of 1 prompts, 1 with the right answer" in capsys.readouterr().out
    reset, search, answer = episode.steps
    assert (reset.observation, reset.response) == (PROMPT, "")
    assert (search.response, search.observation) == (FIRST, PASSAGES)
    assert (answer.response, answer.observation) == (LAST, "")
    assert [step.info["step"]["kind"] for step in episode.steps] == ["reset", "search", "answer"]
    assert [step.reward for step in episode.steps] == [0.0, 0.0, 1.0]
    assert answer.terminated and not answer.truncated and episode.success
    assert {step.tokens for step in episode.steps} == {None} and episode.env_spec["id"] == ""
    assert answer.info["search_count"] == 1 and reset.info["goal"] == "Who wrote Emma?"
    transcript = f"{PROMPT}\n> {FIRST}\n{PASSAGES}\n> {LAST}\n"
    for step in episode.steps:
        told = step.info["step"]
        assert transcript[told["action_start"] : told["action_end"]] == step.action
        assert transcript[told["observation_start"] : told["observation_end"]] == step.observation
        assert told["anchor"] == text_hash(step.observation)


def test_import_takes_what_real_files_have(tmp_path: Path) -> None:
    """Chats as prompts, verl's nesting, its dumps, the note on an invalid action, an open end."""
    chat = [{"role": "user", "content": PROMPT}]
    nested = {"reward_model": {"style": "rule", "ground_truth": {"target": ["Jane Austen"]}}}
    invalid = "I know it." + NOTE + "<answer>Mary Shelley</answer>"
    rows: list[dict[str, Any]] = [
        {"prompt": chat, "response": RIGHT["response"], "data_source": "nq", "id": "test_3", **nested},
        {"input": PROMPT, "output": PROMPT + invalid, "gts": "Jane Austen", "score": 0.2, "step": 4},
        {"prompt": PROMPT, "response": FIRST + PASSAGES, "golden_answers": ["Jane Austen"]},
        {"prompt": "Another", "response": LAST, "score": 1},
    ]
    verl, dump, open_end, scored = imported(tmp_path, *rows)
    assert (verl.task_id, verl.task_type, verl.success) == ("test_3", "nq", True)
    assert [(e.group, e.member) for e in (verl, dump, open_end, scored)] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [step.response for step in dump.steps[1:]] == ["I know it.", "<answer>Mary Shelley</answer>"]
    assert dump.steps[1].observation == NOTE and dump.steps[1].info["step"]["valid"] is False
    assert not dump.success and dump.steps[-1].reward == 0.2
    assert open_end.steps[-1].truncated and not open_end.steps[-1].terminated and not open_end.success
    assert scored.success and scored.steps[-1].reward == 1.0


def test_import_cut_loses_no_character() -> None:
    """Whatever the text."""
    for text in (FIRST + PASSAGES + LAST, "a" + NOTE + "b" + PASSAGES, "\n<answer>x</answer>\n\n"):
        assert "".join(response + observation for response, observation in cut(text)) == text


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"response": LAST}, "the row has no prompt; the keys are 'response'; give 'prompt'"),
        ({"prompt": PROMPT}, "the row has no text of the model"),
        ({"prompt": PROMPT, "response": LAST}, "nothing says whether the answer is right"),
        ({**RIGHT, "golden_answers": [1]}, "give a text, or a list of texts"),
        ({**RIGHT, "score": "good"}, "the score is 'good'; give a number"),
        ({**RIGHT, "score": float("nan")}, "the score is nan; give a number"),
        ({**RIGHT, "response": LAST + PASSAGES}, " after an answer"),
        ({**RIGHT, "response": PASSAGES + LAST}, "where the model should have written"),
        ([1], "each line must be an object"),
    ],
)
def test_import_names_the_line_that_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, problem: str
) -> None:
    """In one line, and nothing is written."""
    path, out = tmp_path / "transcripts.jsonl", tmp_path / "out"
    path.write_text(f"{json.dumps(RIGHT)}\n{json.dumps(row)}\n", encoding="utf-8")
    line = refusal(capsys, "import", str(path), "--from=search-r1", f"--out={out}")
    assert "line 2: " in line and problem in line and not out.exists()


def test_import_refuses_what_is_no_file_of_transcripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absent, empty, and of a format that is not known."""
    arguments = ["import", str(tmp_path / "none.jsonl"), f"--out={tmp_path / 'out'}"]
    assert "No such file" in refusal(capsys, *arguments, "--from=search-r1")
    (tmp_path / "none.jsonl").touch()
    assert "holds no transcripts" in refusal(capsys, *arguments, "--from=search-r1")
    assert "search-r1" in refusal(capsys, *arguments, "--from=other")


def test_imported_episodes_say_that_they_have_no_tokens(tmp_path: Path) -> None:
    """Where the learner would need them."""
    with pytest.raises(ValueError, match="token"):
        collate(imported(tmp_path, RIGHT), 0)


def test_credit_of_imported_episodes_says_what_they_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that names no environment has no worlds and no distances; its returns have credit."""
    imported(tmp_path, RIGHT)
    score = ["credit", "score", str(tmp_path / "out")]
    line = refusal(capsys, *score, "--credit.method=path_gain")
    assert "the record does not say what was played: it was imported" in line and "such as grpo" in line
    assert run(*score, "--credit.method=grpo") == 0
    assert "by: the environment has no setting env.oracle" in refusal(
        capsys, "credit", "compare", str(tmp_path / "out")
    )


def test_import_refuses_one_id_for_two_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables would take them for attempts at one task; an index begins anew in every set."""
    other = {**RIGHT, "prompt": PROMPT.replace("Emma", "Persuasion")}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**row, "index": 0}) + "\n" for row in (RIGHT, RIGHT, other)))
    said = refusal(capsys, "import", str(path), "--from=search-r1", f"--out={tmp_path / 'no'}")
    assert "line 3: the id '0' is that of another question" in said and "leave 'index' out" in said
    assert len({episode.task_id for episode in imported(tmp_path, RIGHT, RIGHT, other)}) == 2
    (tmp_path / "more").mkdir()
    assert {episode.task_id for episode in imported(tmp_path / "more", {**RIGHT, "index": 0})} == {"0"}
