"""``--config NAME`` and ``stepopsd config``: recipes come with the package, whatever the current folder."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import main, parse
from stepopsd_agent.config import RunConfig, recipe, recipe_names


def settings(*arguments: str) -> RunConfig:
    """The settings of a training with these flags."""
    return config_of(parse(["train", *arguments])["train"])


@pytest.mark.parametrize("form", [["--config", "alfworld_quickstart"], ["--config=alfworld_quickstart"]])
def test_recipe_is_read_by_its_name_from_any_folder(
    form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings as from its file; a flag still wins."""
    monkeypatch.chdir(tmp_path)
    assert settings(*form) == settings("--config", str(recipe("alfworld_quickstart")))
    assert settings(*form, "--updates", "7").updates == 7


def test_file_of_the_user_wins_over_a_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the current folder is what was meant."""
    monkeypatch.chdir(tmp_path)
    Path("alfworld_quickstart").write_text("updates: 3\n", encoding="utf-8")
    assert settings("--config", "alfworld_quickstart").updates == 3


def test_plan_takes_a_recipe_without_a_flag() -> None:
    """As it takes a file."""
    assert config_of(parse(["plan", "paper/searchqa_qwen3_1.7b"])["plan"]).env.id == "stepopsd/SearchQA-v0"


def test_name_of_neither_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "--config", "alfworld_quickstrat", "--out", "run"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert "alfworld_quickstrat: no such file" in said and "searchqa_quickstart" in said


def test_list_has_every_recipe_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    assert main(["config", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert all(len(line.split()) > 4 for line in lines)


def test_copy_is_the_recipe_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second copy is refused, and the first is as it was."""
    path = tmp_path / "not" / "there" / "mine.yaml"
    assert main(["config", "copy", "searchqa_quickstart", "--out", str(path)]) == 0
    assert path.read_bytes() == recipe("searchqa_quickstart").read_bytes()
    path.write_text("updates: 1\n", encoding="utf-8")
    assert main(["config", "copy", "searchqa_quickstart", "--out", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err and path.read_text() == "updates: 1\n"
    assert main(["config", "show", "searchqa_quickstart"]) == 0
    assert capsys.readouterr().out == recipe("searchqa_quickstart").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show"], "show needs the name of a recipe"),
        (["list", "alfworld_quickstart"], "list takes no name"),
        (["list", "x"], "list takes no name"),
        (["copy", "alfworld_quickstrat"], "did you mean"),
        (["show", "alfworld_quickstart", "--out", "x.yaml"], "leave it out"),
        (["copy", "alfworld_quickstart", "--out", ""], "the path is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to write instead."""
    assert main(["config", *arguments]) == 2
    assert named in capsys.readouterr().err
