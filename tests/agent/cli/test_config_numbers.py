"""Texts that YAML 1.1 takes for numbers to the base 60 or 2 are no numbers here, in files and flags."""

from pathlib import Path

import pytest

from tests.agent.cli.test_config_file import read

WHOLE = ("seed", "updates", "rollout.group_size", "learner.lora.rank", "env.num_games", "threads")
BROKEN = ("learner.lr", "rollout.temperature", "alarms.kl.at", "credit.lambda_mix")


def nested(key: str, value: str) -> str:
    """The YAML of one setting."""
    *sections, name = key.split(".")
    lines = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
    return "\n".join([*lines, f"{'  ' * len(sections)}{name}: {value}"]) + "\n"


@pytest.mark.parametrize("text", ["1:30", "-190:20:30", "1:30.5", "0b11", '"1:30"'])
@pytest.mark.parametrize("key", ["seed", "learner.lr"])
def test_numbers_to_other_bases_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, text: str
) -> None:
    """In one sentence that names the setting, what was got and what to give."""
    kind = "a whole number" if key == "seed" else "a number"
    plain = text.strip('"')
    message = f"stepopsd: error: {key}: got {plain}; give {kind} (see stepopsd train --help)\n"
    with pytest.raises(SystemExit):
        read(tmp_path, nested(key, text))
    assert capsys.readouterr().err == message
    with pytest.raises(SystemExit):
        read(tmp_path, "", f"--{key}={plain}")
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("key", [*WHOLE, *BROKEN])
def test_every_kind_of_number_is_read_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """Those that may be null too, those of sections in sections, of the environment and of the method."""
    for given in ((nested(key, "1:30"),), ("", f"--{key}=1:30")):
        with pytest.raises(SystemExit):
            read(tmp_path, *given)
        assert f"{key}: got 1:30; give " in capsys.readouterr().err


def test_texts_with_colons_stay_texts_and_numbers_numbers(tmp_path: Path) -> None:
    """A name may look like a time of day; a rate has an exponent, a point alone, or neither."""
    assert read(tmp_path, nested("model.path", "1:30")).model.path == "1:30"
    assert read(tmp_path, "", "--model.path=1:30").model.path == "1:30"
    for text, value in (("1e-6", 1e-6), (".5", 0.5), ("3", 3.0), ("1_0.5", 10.5), ("+2.", 2.0)):
        assert read(tmp_path, nested("learner.lr", text)).learner.lr == value
        assert read(tmp_path, "", f"--learner.lr={text}").learner.lr == value
    assert read(tmp_path, "", "--seed=017").seed == 17
