"""Config files as people write them: empty sections, words that YAML 1.1 takes for truth values, ~."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import main, parse
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_envs.disk_cache import cache_folder
from stepopsd_envs.search_qa.corpus import read_corpus
from stepopsd_envs.search_qa.sources import load_questions
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import EpisodeWriter, read_episodes
from tests.helpers.command_line import refusal
from tests.helpers.retrieval import write_corpus
from tests.helpers.search_qa import write_rows
from tests.helpers.text_env import make_episode


def read(tmp_path: Path, text: str, *flags: str) -> RunConfig:
    """The settings that a file of this content gives to ``train``."""
    (tmp_path / "c.yaml").write_text(text)
    return config_of(parse(["train", "--config", str(tmp_path / "c.yaml"), *flags])["train"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# updates: 3\n",
        "---\n# updates: 3\n",
        *(
            f"{name}:\n  # all of it is commented out\n"
            for name in ("env", "eval", "credit", "learner", "alarms")
        ),
        "learner:\n  lora:\n    # rank: 8\n",
        "alarms:\n  gap:\n  kl:\n",
        "model:\nrollout:\nhindsight:\nschedule:\ncritic:\nwarmstart:\n",
    ],
)
def test_config_without_settings_is_the_defaults(tmp_path: Path, text: str) -> None:
    """Comments alone, and sections and inner sections without a key."""
    assert read(tmp_path, text) == read(tmp_path, "seed: 0\n")


def test_config_null_is_kept_where_it_is_a_value(tmp_path: Path) -> None:
    """Only sections are empty by null; and a library's dictionary is read the same way."""
    assert read(tmp_path, "model:\n  system: null\n").model.system is None
    assert config_from_dict({"env": None, "learner": {"lora": None}, "seed": 3}) == RunConfig(seed=3)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("learner:\n  lr: 1e-5\nseed: 1\nlearner:\n  kl_coef: 0.1\n", "learner", 4),
        ("env:\n  tier: tiny\n  tier: full\n", "tier", 3),
    ],
)
def test_config_key_that_is_there_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, key: str, line: int
) -> None:
    """The first would be dropped without a word."""
    with pytest.raises(SystemExit):
        read(tmp_path, text)
    message = capsys.readouterr().err
    assert "c.yaml" in message and f"{key} is there twice, the second time in line {line}" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("word", ["off", "Off", "OFF", '"off"'])
def test_config_words_stay_words(tmp_path: Path, word: str) -> None:
    """``off`` is no truth value where a word is asked for, in files and flags."""
    text = f"model:\n  chat: {word}\nalarms:\n  gap:\n    at: 3\n    do: {word}\n"
    if word in ("off", '"off"'):
        config = read(tmp_path, text)
        assert (config.model.chat, config.alarms.gap.do) == ("off", "off")
    else:
        with pytest.raises(SystemExit):
            read(tmp_path, text)
    assert read(tmp_path, "", "--model.chat=on", "--alarms.gap.do=off").model.chat == "on"
    assert read(tmp_path, "rollout:\n  stop: [no, yes, on]\n").rollout.stop == ["no", "yes", "on"]


@pytest.mark.parametrize("word", ["true", "True", "yes", "on"])
def test_config_truth_values_are_read_as_ever(tmp_path: Path, word: str) -> None:
    """Where a setting is one."""
    assert read(tmp_path, f"model:\n  enable_thinking: {word}\n").model.enable_thinking
    assert read(tmp_path, "", f"--model.enable_thinking={word}").model.enable_thinking
    assert not read(tmp_path, "model:\n  enable_thinking: no\n").model.enable_thinking


def test_config_numbers_are_read_as_ever(tmp_path: Path) -> None:
    """With and without a point."""
    config = read(tmp_path, "learner:\n  lr: 1e-5\n  kl_coef: .5\nupdates: 1_000\n")
    assert (config.learner.lr, config.learner.kl_coef, config.updates) == (1e-5, 0.5, 1000)


@pytest.mark.parametrize("text", ["- a\n", "updates\n", "3\n", "{1: 2}\n", "a: [\n"])
def test_config_of_another_kind_is_named(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the file."""
    with pytest.raises(SystemExit):
        read(tmp_path, text)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{tmp_path / 'c.yaml'} is not a config file" in error


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another folder to be in."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("env:\n- a\n", "env is ['a']; give its settings by name, such as env.id"),
        ("env: 3\n", "env is 3; give its settings by name, such as env.id"),
        ("eval: [1]\n", "eval is [1]; give its settings by name, such as eval.every"),
        ("credit:\n- method\n", "credit is ['method']; give its settings by name, such as credit.method"),
        ("credit: grpo\n", "credit is 'grpo'"),
        (
            "env:\n  task_types: no\n",
            'env.task_types: got no; give a list, such as "[first, second]" or null',
        ),
    ],
)
def test_sections_and_values_that_are_no_such_thing_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """As they were written."""
    (tmp_path / "c.yaml").write_text(text)
    assert said in refusal(capsys, "train", "--config", str(tmp_path / "c.yaml"))


def test_config_in_another_encoding_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as UTF-16, which editors on Windows write; a folder is no file."""
    path = tmp_path / "c.yaml"
    for text in ("updates: 3".encode("utf-16"), "updates: 3  # ä".encode("latin-1")):
        path.write_bytes(text)
        line = refusal(capsys, "train", "--config", str(path))
        assert f"{path} is not a config file: it is not UTF-8" in line and "byte" in line
    path.write_bytes("updates: 3".encode("utf-8-sig"))
    assert config_of(parse(["train", "--config", str(path)])["train"]).updates == 3
    assert "is a folder" in refusal(capsys, "train", "--config", str(tmp_path))


def test_home_of_nobody_is_no_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins with the name of a user who is not there would make a folder of that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no user 'nobody-of-this-name'; .* write \./~nobody"):
        user_path("~nobody-of-this-name/out")
    assert user_path("./~nobody-of-this-name") == Path("~nobody-of-this-name")
    assert user_path("a/~b") == Path("a/~b")


@pytest.mark.parametrize("path", ["", "~nobody-of-this-name"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("record", "--agent=random", "--env.tier=tiny", "--episodes=1", "--out"),
        ("train", "--resume"),
        ("credit", "compare"),
        ("replay",),
    ],
)
def test_a_path_that_names_nothing_is_one_line_of_error(
    arguments: tuple[str, ...], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a shell's variable that is not set, the present folder would be written to."""
    line = refusal(capsys, *arguments, path)
    assert ("the path is empty" if path == "" else "there is no user") in line


def test_home_is_understood_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing makes a folder named ~."""
    with EpisodeWriter("~/episodes") as writer:
        writer.append(make_episode(0))
    assert len(list(read_episodes("~/episodes"))) == 1 == len(list(read_episodes(home / "episodes")))
    write_corpus(home / "c.jsonl")
    write_rows(home / "q.jsonl")
    assert list(read_corpus("~/c.jsonl")) == list(read_corpus(home / "c.jsonl"))
    assert len(load_questions("~/q.jsonl", "small", "test").task_ids) == 3
    monkeypatch.setenv("STEPOPSD_CACHE", "~/cache")
    assert cache_folder() == home / "cache"
    assert main(["index", "~/c.jsonl", "--out=~/index"]) == 0
    assert (home / "index" / "manifest.json").is_file()
    assert main(["record", "--out=~/played", "--env.tier=tiny", "--agent=random", "--episodes=1"]) == 0
    assert main(["replay", "~/played"]) == 0
    assert list(Path().iterdir()) == []


def test_resume_understands_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder that it looked for is named whole."""
    with pytest.raises(SystemExit):
        parse(["train", "--resume=~/run"])
    assert f"there is no folder {home / 'run'}" in capsys.readouterr().err


PAPER = "credit:\n  method: step_opsd\n  lambda_mix: 0.3\n  std: false\n"


def test_config_of_one_method_serves_another_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own fields are left out with a notice, those that both have are kept."""
    (tmp_path / "c.yaml").write_text(PAPER)
    settings = parse(["train", "--config", str(tmp_path / "c.yaml"), "--credit.method", "grpo"])["train"]
    assert settings.credit.std is False and "lambda_mix" not in settings.credit
    notice = "stepopsd: notice: grpo has no credit.lambda_mix, which the config file sets for step_opsd"
    assert notice in capsys.readouterr().err
    same = parse(["train", "--config", str(tmp_path / "c.yaml"), "--credit.method=step_opsd"])["train"]
    assert same.credit.lambda_mix == 0.3 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (PAPER.replace("step_opsd", "grpo"), []),
        (PAPER.replace("lambda_mix", "lamda_mix"), ["--credit.method=grpo"]),
        (PAPER, ["--credit.method=grpo", "--credit.lambda_mix=1"]),
    ],
)
def test_config_fields_of_no_method_are_refused(
    tmp_path: Path, text: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a file that names the method itself, misspelt, or as a flag."""
    with pytest.raises(SystemExit):
        read(tmp_path, text, *flags)
    assert "da_mix" in capsys.readouterr().err


def test_flags_win_over_config_files_wherever_they_stand(tmp_path: Path) -> None:
    """Also before the file, and in either spelling."""
    (tmp_path / "c.yaml").write_text(f"updates: 3\nseed: 5\n{PAPER}")
    file = str(tmp_path / "c.yaml")
    for before in (["--updates=7", "--credit.method=grpo"], ["--updates", "7", "--credit.method", "grpo"]):
        for named in ([f"--config={file}"], ["--config", file]):
            found = [parse(["train", *one])["train"] for one in ([*before, *named], [*named, *before])]
            assert [(one.updates, one.seed, one.credit.method) for one in found] == [(7, 5, "grpo")] * 2


def test_later_config_file_may_name_another_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fields that the one before it sets for its own method are left out, as with a flag."""
    for name, text in (("paper", PAPER), ("base", "credit:\n  method: grpo\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    paper, base = (f"--config={tmp_path / name}.yaml" for name in ("paper", "base"))
    settings = parse(["train", paper, base])["train"]
    assert settings.credit.method == "grpo" and settings.credit.std is False
    assert (
        "grpo has no credit.lambda_mix, which the config file sets for step_opsd" in capsys.readouterr().err
    )
    assert parse(["train", base, paper])["train"].credit.lambda_mix == 0.3


@pytest.mark.parametrize(
    ("text", "seed"), [("017", 17), ("08", 8), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), ("+5", 5)]
)
def test_whole_numbers_of_a_file_are_those_of_yaml_1_2(tmp_path: Path, text: str, seed: int) -> None:
    """A leading zero makes no number octal, in a file as in a flag; in a file `0o` does."""
    assert read(tmp_path, f"seed: {text}").seed == seed
    if not text.startswith("0o"):
        assert read(tmp_path, "", f"--seed={text}").seed == seed


@pytest.mark.parametrize("text", ["0o18", "0o", "0O17", "1_000x"])
def test_what_is_no_whole_number_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """It stays the text that it is, which another setting may hold."""
    with pytest.raises(SystemExit):
        read(tmp_path, f"seed: {text}")
    assert f"seed: got {text}; give a whole number" in capsys.readouterr().err
    assert read(tmp_path, f"model:\n  path: {text}").model.path == text
