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


def named() -> set[str]:
    """The files, and folders with a slash at their end, that the documentation of the path names."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## The path of one update")[2].partition("\n## ")[0]
    return set(re.findall(r"`([\w/]+(?:\.py|/))`", section))


def is_named(file: str) -> bool:
    """Whether a file, or a folder it lies in, is named; those of the learner without the package's name."""
    short = file.removeprefix("stepopsd_agent/")
    return any(short.startswith(name) if name.endswith("/") else short == name for name in named())


def test_the_reading_list_is_short() -> None:
    """At most 18 files and 3,000 lines from rollout to optimizer step."""
    files = [ROOT / name for name in listed()]
    assert 10 <= len(files) <= 18
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 3000


def test_an_update_runs_through_the_listed_files_and_not_many_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At most 35 files in all; every file of the reading list is among them, and no other goes unnamed."""
    assert benchmark.main([]) == 0
    traced = set(re.findall(r"functions  (\S+)", capsys.readouterr().out))
    assert set(listed()) <= traced and len(traced) <= 35
    assert not [file for file in traced - set(listed()) if not is_named(file)]
    assert benchmark.main(["--most", "3"]) == 1
