"""What an environment says about its arguments, in the words of the command line."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.setting_names import in_settings
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import EvalSet
from tests.helpers.command_line import refusal, run

QA = ["--agent=random", "--env.id=stepopsd/SearchQA-v0"]


def test_errors_of_an_environment_name_settings() -> None:
    """Words that only happen to be an argument's name stay as they are, and so do paths."""
    env = EnvConfig("stepopsd/SearchQA-v0")
    said = "retriever='lucene' has nothing to search for questions='a b': give corpus=PATH, or split=\"test\""
    assert in_settings(said, env) == (
        "env.retriever='lucene' has nothing to search for env.questions='a b': give env.corpus=PATH, or "
        'env.split="test"'
    )
    plain = "the questions of this split have no corpus, see /x/max_turns/file and a.topk=3"
    assert in_settings(plain, env) == plain
    assert in_settings("task_types has 'x': lower max_turns.", env) == (
        "env.task_types has 'x': lower env.max_turns."
    )
    played = EvalSet("x", env, 3)
    assert in_settings("questions='x' in corpus='y'", played) == "eval.questions='x' in env.corpus='y'"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--env.retriever=bm2"], "error: env.retriever='bm2': did you mean 'bm25'? give one of"),
        (["--eval.questions=hotpotq"], "error: eval.questions='hotpotq' is neither a file"),
        (["--eval.questions="], "error: eval.questions is '', which names no questions; give synthetic, "),
        (["--eval.questions=[synthetic, '']"], "error: eval.questions is ['synthetic', ''], which names no"),
        (["--env.retriever=http://127.0.0.1:9", "--env.corpus=x"], "leave out env.corpus='x'"),
        (["--env.topk=0"], "error: env.topk=0: give a positive number"),
        (["--eval.task_types=[9-hop]"], "error: eval.task_types has '9-hop': "),
        (["--env.max_information=3"], "error: env.max_information=3: 3 passages need 600 or more"),
    ],
)
def test_cli_names_the_settings_of_search_qa(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not the arguments in Python, which nobody typed."""
    assert said in refusal(capsys, "eval", *QA, *flags)


@pytest.mark.parametrize("games", ["", "[valid_seen, '']"])
def test_eval_names_its_own_setting_of_games_that_is_empty(
    games: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was taken for that of training, which nobody gave."""
    line = refusal(capsys, "eval", "--agent=random", f"--eval.games={games}")
    assert "error: eval.games is empty; give generated, an official split, " in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--env.games=valid_sen"], "error: env.games='valid_sen' not found; did you mean 'valid_seen'?"),
        (["--env.games="], "error: env.games='': the path is empty; give one"),
        (["--env.num_games=0"], "error: env.num_games=0: give "),
        (["--env.id=stepopsd/SearchQA-v0", "--env.questions="], "error: env.questions='': the path is empty"),
        (["--env.id=stepopsd/SearchQA-v0", "--env.corpus="], "error: env.corpus='': the path is empty"),
        (["--env.id=stepopsd/SearchQA-v0", "--env.questions=hotpotq"], "error: env.questions='hotpotq' is "),
    ],
)
def test_record_names_the_settings_that_it_plays_by(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `env`, as it evaluates nothing."""
    line = refusal(capsys, "record", "--agent=random", *flags, f"--out={tmp_path / 'games'}")
    assert said in line and "eval." not in line


def test_cli_names_the_settings_where_a_corpus_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one to give is a setting, too."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": "1", "question": "Who?", "golden_answers": ["She"]}\n', encoding="utf-8")
    line = refusal(capsys, "eval", *QA, f"--eval.questions={questions}")
    assert f"env.retriever='bm25' has nothing to search for eval.questions='{questions}'" in line
    assert "give env.corpus=PATH, a JSONL file" in line and "or env.retriever='http://" in line
    capsys.readouterr()
    assert run("play", "--env.games=valid_sen") == 2
    assert "env.games='valid_sen' not found; did you mean 'valid_seen'?" in capsys.readouterr().err


def test_an_empty_folder_name_is_told_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """As a variable of a shell that is not set gives one."""
    assert "--out is '': the path is empty; give one" in refusal(capsys, "record", "--agent=random", "--out=")
