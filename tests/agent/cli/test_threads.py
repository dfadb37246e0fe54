"""Threads of a command: no more than the process may use."""

import os
import sys
from pathlib import Path

import pytest
import torch

from stepopsd_agent.cli import threads
from stepopsd_agent.cli.common import run_config
from stepopsd_agent.cli.main import parse


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> object:
    """Leave the process as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def used(*flags: str) -> int:
    """Threads of PyTorch after a command has read its settings."""
    run_config(parse(["eval", *flags])["eval"])
    return torch.get_num_threads()


def test_threads_of_a_config_do_not_exceed_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OMP_NUM_THREADS is the limit, which is said; fewer are taken as asked for."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert used("--threads=2") == 1
    assert "threads is 2, but this process may use 1" in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert (used("--threads=2"), used()) == (2, 3)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="processors of a process are told by Linux")
def test_threads_without_a_word_are_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its processors, or the share of them that its container gets; rubbish in the environment is none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5, 7})
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    for given in ("", "many", "0"):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert threads.allowed_threads() == 4
    for text, count in (("max 100000", 4), ("150000 100000", 2), ("900000 100000", 4), ("1000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert threads.allowed_threads() == count
    assert used() == 1
