"""A credit method from outside the package: one file, one line, and every command knows it."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepopsd_agent import credit
from stepopsd_agent.credit import registry
from stepopsd_agent.run.files import read_rows
from tests.helpers.command_line import record, refusal, run
from tests.helpers.runs import stepopsd, train_arguments

FILE = '''
"""Someone's method."""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import credit
from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit


@dataclass(frozen=True)
class ValidSteps:
    """The same small credit for every step that the environment accepted."""

    size: float = 0.1

    paper: ClassVar[str] = "none; of this test"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """The credit of every token."""
        per_step = self.size * batch.steps.valid.to(batch.tokens.old_logprobs.dtype)
        return Credit(ops.spread_steps(per_step, batch.tokens.step_of_token), may_zero_steps=True)


credit.register("valid_steps", "someones_method:ValidSteps")
'''


@pytest.fixture
def own_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file, imported; the registry is as before afterwards."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "someones_method.py").write_text(FILE)
    __import__("someones_method")
    yield
    del sys.modules["someones_method"]


@pytest.mark.samples
@pytest.mark.usefixtures("own_method")
def test_own_method_is_listed_and_trained(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its paper and its settings; an update of it, and the run is continued by its name."""
    assert run("credit", "list") == 0
    listed = capsys.readouterr().out
    assert "valid_steps: The same small credit" in listed and "paper: none; of this test" in listed
    out = tmp_path / "run"
    flags = ["--credit.method=valid_steps", "--credit.size=0.2", "--updates=1"]
    assert run(*train_arguments(taught_model, out, *flags)) == 0
    assert json.loads((out / "summary.json").read_text())["method"] == "valid_steps"
    assert read_rows(out / "metrics.jsonl")[-1]["update/grad_norm"] > 0
    assert run("train", f"--resume={out}") == 0


@pytest.mark.usefixtures("own_method")
def test_own_method_scores_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its settings are flags; one that it does not have is refused in a line."""
    folder = tmp_path / "games"
    record(folder, "--agent=random")
    assert run("credit", "score", str(folder), "--credit.method=valid_steps", "--credit.size=0.5") == 0
    lines = (folder / "credit-valid_steps.jsonl").read_text().splitlines()
    assert {step["credit"] for line in lines for step in json.loads(line)["steps"]} <= {0.0, 0.5}
    flag = "--credit.lambda_mix=1"
    assert "lambda_mix" in refusal(
        capsys, "credit", "score", str(folder), "--credit.method=valid_steps", flag
    )


@pytest.mark.usefixtures("own_method")
def test_own_method_is_imported_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user has it: a process in which nothing has been registered yet."""
    folder = tmp_path / "games"
    record(folder, "--agent=random")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    score = ["credit", "score", str(folder), "--credit.size=0.5"]
    without = stepopsd(*score, "--credit.method=valid_steps")
    assert without.returncode == 2 and "module:name" in without.stderr
    done = stepopsd(*score, "--credit.method=someones_method:valid_steps")
    assert done.returncode == 0, done.stderr
    assert (folder / "credit-valid_steps.jsonl").is_file()
    missing = stepopsd(*score, "--credit.method=no_such_module:valid_steps")
    assert missing.returncode == 2 and "there is no module 'no_such_module'" in missing.stderr


def test_own_method_may_be_run_and_imported(own_method: None) -> None:
    """A script that registers itself by its file's name is loaded a second time under that name."""
    credit.register("valid_steps", "someones_method:ValidSteps")
    with pytest.raises(ValueError, match="'valid_steps' is registered already"):
        credit.register("valid_steps", "another:ValidSteps")
