"""The path of one update: as short as promised, and the one that the documentation lists."""

import re
from pathlib import Path

import pytest

from benchmarks.learner import path_of_an_update as benchmark

ROOT = Path(__file__).parents[2]


def listed() -> list[str]:
    """The files of the reading list in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\d+\. \[`([\w/.]+)`\]", text, re.MULTILINE)


def test_the_reading_list_is_short() -> None:
    """At most 18 files and 3,000 lines from rollout to optimizer step."""
    files = [ROOT / name for name in listed()]
    assert 10 <= len(files) <= 18
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 3000


def test_an_update_runs_through_the_listed_files_and_not_many_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At most 35 files in all; every file of the reading list is among them."""
    assert benchmark.main([]) == 0
    traced = set(re.findall(r"functions  (\S+)", capsys.readouterr().out))
    assert set(listed()) <= traced and len(traced) <= 35
    assert benchmark.main(["--most", "3"]) == 1
