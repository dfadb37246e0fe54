"""``stepopsd check-model``: each check with its outcome, exit code 0 or 2."""

from pathlib import Path

import pytest

from stepopsd_agent.models.self_check import CHECKS
from tests.helpers.command_line import refusal, run
from tests.helpers.models import tiny


def test_check_model_passes_a_model_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per check."""
    tiny().save(tmp_path)
    capsys.readouterr()
    assert run("check-model", str(tmp_path)) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}: ok" for name in CHECKS]


def test_check_model_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those behind the first, which loading alone would tell; the setting named helps."""
    policy = tiny()
    policy.tokenizer.add_special_tokens({"additional_special_tokens": ["<action>"]})
    policy.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    )
    policy.save(tmp_path)
    capsys.readouterr()
    assert run("check-model", str(tmp_path)) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith(": ok") for line in lines] == [True, False, True, True, False, False]
    assert "'<action>' have no row" in lines[1]
    assert "refuses a system message" in lines[4] and "set model.system to ''" in lines[4]
    assert "<action>" in lines[5]
    assert run("check-model", str(tmp_path), "--system=") == 2
    assert capsys.readouterr().out.splitlines()[4].endswith(": ok")


def test_check_model_without_a_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, as every command."""
    assert str(tmp_path) in refusal(capsys, "check-model", str(tmp_path))
