"""The command that a warm start names: followed literally, it trains with the settings of the warm start."""

import shlex
from pathlib import Path

import pytest

from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import parse
from stepopsd_agent.cli.warmstart import train_command
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
