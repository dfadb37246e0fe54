"""The command that a warm start names: followed literally, it trains with the settings of the warm start."""

import shlex
from pathlib import Path

import pytest

from stepopsd_agent.cli.commands.warmstart import train_command
from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import parse
from stepopsd_agent.config import config_to_dict


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--env.step_limit=9", "--rollout.stop=[a b,c]", "--eval.temperature=0", "--model.chat=off"],
        ["--seed=4", "--model.path=elsewhere", "--env.layout=window", "--warmstart.passes=2"],
    ],
)
def test_train_command_of_a_warm_start_has_its_settings(tmp_path: Path, flags: list[str]) -> None:
    """Its file and its flags, those of the warm start alone left out."""
    file = tmp_path / "my config.yaml"
    file.write_text("seed: 3\nenv:\n  tier: tiny\nlearner:\n  lr: 1.0e-4\n")
    settings = parse(["warmstart", "--config", str(file), *flags, "--out=x"])["warmstart"]
    words = shlex.split(train_command(settings, tmp_path / "a model"))
    assert words[:3] == ["stepopsd", "train", f"--config={file}"] and words[-2:] == ["--out", "RUN"]
    trained = config_to_dict(config_of(parse(words[1:])["train"]))
    wanted = config_to_dict(config_of(settings))
    wanted["model"]["path"] = str(tmp_path / "a model")
    for name in trained.keys() - {"warmstart"}:
        assert trained[name] == wanted[name]
    assert len(words) == 6 + sum("warmstart" not in flag and "model.path" not in flag for flag in flags)


@pytest.mark.parametrize("in_file", [True, False])
def test_train_command_names_an_environment_that_its_files_do_not(tmp_path: Path, in_file: bool) -> None:
    """Without it the model would be trained on another one, and nothing would say so."""
    file = tmp_path / "c.yaml"
    file.write_text("env:\n  id: stepopsd/SearchQA-v0\n" if in_file else "seed: 3\n")
    flags = [] if in_file else ["--env.id=stepopsd/SearchQA-v0"]
    settings = parse(["warmstart", "--config", str(file), *flags, "--out=x"])["warmstart"]
    words = shlex.split(train_command(settings, tmp_path / "model"))
    assert ("--env.id=stepopsd/SearchQA-v0" in words) == (not in_file)
    assert config_of(parse(words[1:])["train"]).env.id == "stepopsd/SearchQA-v0"


def test_train_command_names_a_recipe_as_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the long path of a file in the package; that is given where a file here has the name."""
    monkeypatch.chdir(tmp_path)

    settings = parse(["warmstart", "--config", "alfworld_quickstart", "--seed=4", "--out=x"])["warmstart"]
    words = shlex.split(train_command(settings, Path("x")))
    assert words[2] == "--config=alfworld_quickstart" and words[-3:] == ["--model.path=x", "--out", "RUN"]
    assert config_of(parse(words[1:])["train"]).seed == 4
    (tmp_path / "alfworld_quickstart").write_text("seed: 7\n")
    words = shlex.split(train_command(settings, Path("x")))
    assert words[2].endswith("/alfworld_quickstart.yaml")
    assert config_of(parse(words[1:])["train"]).env == config_of(settings).env
