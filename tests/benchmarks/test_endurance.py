"""The endurance benchmark can fail: it sees one changed byte, and kills what it says it kills."""

import shutil
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.learner import endurance
from tests.helpers.runs import sitting, train_arguments

pytestmark = pytest.mark.samples


@pytest.fixture(scope="module")
def finished(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run."""
    out = tmp_path_factory.mktemp("endurance") / "run"
    assert sitting(train_arguments(taught_model, out, "--updates=2"), out) == 0
    return out


@pytest.mark.parametrize("name", ["metrics.jsonl", "episodes/episodes-00000.jsonl", "summary.json"])
def test_endurance_sees_what_differs(finished: Path, tmp_path: Path, name: str) -> None:
    """Copies are equal, until something is changed."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = endurance.content(finished)
    assert endurance.content(copy) == before
    text = (copy / name).read_text()
    (copy / name).write_text(text.replace("0", "1", 1))
    assert endurance.content(copy) != before


def test_endurance_does_not_mind_the_clock(finished: Path, tmp_path: Path) -> None:
    """Wall time is no part of what has to be equal."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    text = (copy / "summary.json").read_text()
    (copy / "summary.json").write_text(text.replace('"wall_s": ', '"wall_s": 1'))
    assert (copy / "summary.json").read_text() != text
    assert endurance.content(copy) == endurance.content(finished)


@pytest.mark.slow
def test_endurance_short_reaches_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole benchmark, small."""
    monkeypatch.setattr(sys, "argv", ["endurance", "--short", "--json", str(tmp_path / "out.json")])
    assert endurance.main() == 0
    assert ": 0 differences" in capsys.readouterr().out
    assert endurance.sitting(["eval", "--help"], 0.0) == -signal.SIGKILL
