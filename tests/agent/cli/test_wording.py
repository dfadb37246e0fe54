"""Errors about values of the wrong type: what is allowed, in words and with an example."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

from stepopsd_agent.cli import checks
from stepopsd_agent.cli.wording import first_sentence, kind, plain_help
from stepopsd_envs.extras import install_command
from tests.helpers.command_line import refusal

CASES = {
    "--rollout.stop=word": 'rollout.stop: got word; give a list, such as "[first, second]"',
    "--rollout.stop=[1, 2]": 'rollout.stop: got 1; give a list, such as "[first, second]"',
    "--env.task_types=pick": 'env.task_types: got pick; give a list, such as "[first, second]" or null',
    "--updates=null": "updates: got null; give a whole number",
    "--updates=many": "updates: got many; give a whole number",
    "--learner.lr=fast": "learner.lr: got fast; give a number",
    "--env.domain_randomization=perhaps": "env.domain_randomization: got perhaps; give true or false",
    "--hindsight.teacher=old": "hindsight.teacher: got old; give stale, live, initial or ema",
    "--credit.alpha_clip=null": "credit.alpha_clip: got null; give a number",
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["import", "x", "--out=y"], "stepopsd import needs --from (search-r1) (see stepopsd import --help)"),
        (["import", "x"], "stepopsd import needs --from (search-r1), --out FOLDER (see"),
        (["export", "x", "--out=y"], "stepopsd export needs --to (sft, "),
        (["replay"], "stepopsd replay needs episodes (see stepopsd replay --help)"),
    ],
)
def test_a_missing_argument_is_named_with_its_choices(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command's own help, as it is typed."""
    assert said in refusal(capsys, *given)


@pytest.mark.parametrize(
    ("section", "example"),
    [("credit", "credit.method"), ("alarms.gap", "alarms.gap.at"), ("hindsight", "hindsight.mode")],
)
def test_one_value_for_a_section_is_answered_by_a_setting_of_it(
    section: str, example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, as a flag and in a file."""
    file = tmp_path / "settings.yaml"
    *outer, inner = section.split(".")
    file.write_text("".join(f"{name}: {{" for name in outer) + f"{inner}: word" + "}" * len(outer))
    for given in ([f"--{section}=word"], [f"--config={file}"]):
        said = refusal(capsys, "train", "--out", str(tmp_path / "run"), *given)
        message = (
            f"{section} is 'word', one value for a section; give its settings by name, such as {example}"
        )
        assert said.startswith(f"stepopsd: error: {message}"), said


@pytest.mark.parametrize("flag", CASES)
def test_a_value_of_the_wrong_type_is_answered_by_what_is_allowed(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, without a name of a type."""
    said = refusal(capsys, "train", "--out", str(tmp_path / "run"), flag)
    assert said.startswith(f"stepopsd: error: {CASES[flag]} (see"), said
    assert not (tmp_path / "run").exists()


def test_a_file_is_answered_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The value comes from a config file."""
    config = tmp_path / "config.yaml"
    config.write_text("rollout:\n  stop: 3\n", encoding="utf-8")
    said = refusal(capsys, "train", "--config", str(config), "--out", str(tmp_path / "run"))
    assert 'rollout.stop: got 3; give a list, such as "[first, second]"' in said


@pytest.mark.parametrize("path", ["./nowhere", "runs/no/model", "{tmp}/model", "{tmp}/model/"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name on the hub is NAME or OWNER/NAME; everything else fails at once."""
    named = path.format(tmp=tmp_path)
    said = refusal(capsys, "train", "--out", str(tmp_path / "run"), f"--model.path={named}")
    assert f"{named}: there is no such folder" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given",
    [
        ["compare", "{records}", "{records}2"],
        ["credit", "compare", "{records}"],
        ["credit", "score", "{records}", "--credit.method=grpo"],
        ["export", "{records}", "--to=sft", "--out={tmp}/out"],
        ["replay", "{records}"],
        ["view", "{records}", "--text"],
        ["view", "{records}", "--out={tmp}/out"],
    ],
)
def test_a_folder_of_records_that_is_not_there_is_said_not_to_be_there(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than to be empty; nothing is written."""
    records = tmp_path / "nowhere"
    said = refusal(capsys, *(part.format(records=records, tmp=tmp_path) for part in given))
    assert f"{records}: there is no such folder; give " in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "package", "extra"),
    [("--learner.lora.rank=4", "peft", "lora"), ("--model.gguf_file=model.gguf", "accelerate", "gguf")],
)
def test_a_package_that_is_missing_is_named_before_anything_is_written(
    flag: str,
    package: str,
    extra: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The setting, the package, and what to do."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == package else find_spec(name))
    said = refusal(capsys, "train", "--out", str(tmp_path / "run"), flag)
    assert f"needs {package}: {install_command(extra)}, or " in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        ("a model (type: str, default: null)", "a model"),
        ("a model. (type: str)", "a model"),
        ("file (default: the recipe's) (type: str, default: null)", "file (default: the recipe's)"),
        ("where (default: here) (type: str, default: .)", "where (default: here)"),
        ("kind (default: auto) (default: auto)", "kind (default: auto)"),
        ("kind (type: Literal['a', 'b'], default: a)", "kind (default: a)"),
        ("``games`` (type: Union[str, list[str]], default: generated)", "games (default: generated)"),
        ("rate, see (3) (type: float, default: 0.25)", "rate, see (3) (default: 0.25)"),
        ("rate, see (3)", "rate, see (3)"),
        ("folder, as here (required, type: str)", "folder, as here (required)"),
        ("the value. (required, type: float, default: 3.0)", "the value (default: 3.0)"),
    ],
)
def test_help_is_plain(made: str, plain: str) -> None:
    """No default that is nothing, no default twice, no types in Python's notation, no marks of code."""
    assert plain_help(made) == plain


@pytest.mark.parametrize(
    ("annotation", "word"),
    [
        (int, "INT"),
        (float | None, "FLOAT"),
        (bool, "true|false"),
        (str | list[str], "TEXT|LIST"),
        (Literal["a", "b"], None),
        (Literal["a", "b"] | None, None),
        (Path, None),
    ],
)
def test_help_says_what_kind_of_value_a_setting_takes(annotation: object, word: str | None) -> None:
    """In one word; argparse shows choices itself."""
    assert kind(annotation) == word


def test_a_sentence_of_help_ends_where_the_next_begins() -> None:
    """Not at a number or a file name."""
    assert first_sentence("rate of 0.5, as in run.yaml. The rest.") == "rate of 0.5, as in run.yaml"
    assert first_sentence("only one.") == "only one"
