"""Config files that cannot be meant: values without end, sections that are none, pipes."""

import os
from pathlib import Path

import pytest

from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import parse
from tests.helpers.command_line import refusal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learner: &a\n  x: *a\n", "an alias within its own anchor"),
        ("seed: &a [*a]\n", "an alias within its own anchor"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
            "more than 100,000 values",
        ),
        ("learner: " + "[" * 3000 + "\n", "it is nested too deeply"),
        (
            "learner:\n  lora: true\n",
            "learner.lora is True; give its settings by name, such as learner.lora.rank",
        ),
        (
            "learner.lora: true\n",
            "learner.lora is True; give its settings by name, such as learner.lora.rank",
        ),
        ("alarms:\n  gap: [1]\n", "alarms.gap is [1]; give its settings by name, such as alarms.gap.at"),
        ("model: 3\n", "model is 3; give its settings by name, such as model."),
        ("learner:\n  lr: 1e-4\nlearner.lr: 1e-5\n", "learner.lr is there twice, once within learner"),
        ("learner: x.yaml\nlearner.lr: 1e-5\n", "learner is 'x.yaml', and learner.lr is there, too"),
    ],
)
def test_config_that_cannot_be_meant_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """Values without end, and sections that jsonargparse would take or drop without a word."""
    (tmp_path / "c.yaml").write_text(text)
    assert said in refusal(capsys, "train", "--config", str(tmp_path / "c.yaml"))


def test_config_names_with_points_are_settings_of_their_sections(tmp_path: Path) -> None:
    """Beside other settings of the section, and in one without any."""
    text = "learner:\n  kl_coef: 0.5\nlearner.lr: 1e-5\nlearner.lora.rank: 4\nenv:\nenv.tier: tiny\n"
    (tmp_path / "c.yaml").write_text(text)
    config = config_of(parse(["train", "--config", str(tmp_path / "c.yaml")])["train"])
    assert (config.learner.kl_coef, config.learner.lr, config.learner.lora.rank) == (0.5, 1e-5, 4)
    assert config.env.arguments["tier"] == "tiny"


@pytest.mark.timeout(60)
def test_config_that_is_a_pipe_is_refused_and_one_of_the_shell_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe in a folder has no writer; that of ``--config <(command)`` has."""
    os.mkfifo(tmp_path / "c.yaml")
    assert "c.yaml cannot be read: it is a named pipe" in refusal(
        capsys, "train", "--config", str(tmp_path / "c.yaml")
    )
    reading, writing = os.pipe()
    os.write(writing, b"seed: 3\n")
    os.close(writing)
    assert config_of(parse(["train", "--config", f"/dev/fd/{reading}"])["train"]).seed == 3
    os.close(reading)
