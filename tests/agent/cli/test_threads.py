"""Threads of a command: no more than the process may use."""

import os
import sys
from pathlib import Path

import pytest
import torch

from stepopsd_agent.cli.common import run_config
from stepopsd_agent.cli.main import parse
from stepopsd_envs import processors
from stepopsd_envs.search_qa.retrieval.index_settings import Means


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> object:
    """Leave the process as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


PERIOD = {"cpu,cpuacct/a/cpu.cfs_period_us": "100000"}
OUTER = {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="processors of a process are told by Linux")


def processors_are(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the process have so many processors, and no container a limit."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(processors, "LIMITS", Path("/nowhere"))


def used(*flags: str) -> int:
    """Threads of PyTorch after a command has read its settings."""
    run_config(parse(["eval", *flags])["eval"])
    return torch.get_num_threads()


def test_threads_of_a_config_do_not_exceed_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OMP_NUM_THREADS is the limit, which is said; fewer are taken as asked for."""
    processors_are(monkeypatch, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert used("--threads=2") == 1
    assert "threads is 2, but this process may use 1" in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert (used("--threads=2"), used()) == (2, 3)
    assert capsys.readouterr().err == ""


@linux
def test_threads_without_a_word_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rubbish in the environment is none; what asks for more than there is gets what there is."""
    processors_are(monkeypatch, 4)
    for given, count in {"": 4, "many": 4, "0": 4, "-2": 4, "3": 3, "64": 4, "64,2": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert processors.allowed_threads() == count
    assert processors.allowed_processors() == 4
    assert used("--threads=9") == 4


@linux
@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 4),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "900000 100000"}, 4),
        ("0::/\n", {"cpu.max": "1000 100000"}, 1),
        ("0::/work.slice/run.scope\n", {"work.slice/run.scope/cpu.max": "200000 100000"}, 2),
        ("0::/work.slice/run.scope\n", {"work.slice/cpu.max": "100000 100000", "cpu.max": "max 100000"}, 1),
        ("0::/../elsewhere\n", {"cpu.max": "100000 100000"}, 1),
        ("3:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "50000"}, 3),
        ("3:cpuacct,cpu:/a\n", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "100000", **PERIOD}, 1),
        (
            "1:cpu:/a/b\n",
            {"cpu/a/b/cpu.cfs_quota_us": "-1", "cpu/a/b/cpu.cfs_period_us": "100000", **OUTER},
            3,
        ),
        ("1:name=systemd:/a\n0::/a/b\n", {"unified/a/cpu.max": "120000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "max 1000"}, 3),
        ("0::/a/b (deleted)\n", {"a/cpu.max": "100000 100000"}, 1),
        ("0::/a:b c\n", {"a:b c/cpu.max": "100000 100000"}, 1),
        ("2:cpuset:/a\n", {"cpuset/a/cpu.cfs_quota_us": "1", "cpuset/a/cpu.cfs_period_us": "1"}, 4),
        ("", {"cpu.max": "100000 100000"}, 1),
    ],
)
def test_a_container_s_share_of_time_counts_in_processors(
    groups: str, files: dict[str, str], count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In both versions of control groups, of the process's own group and of those around it; rounded up."""
    processors_are(monkeypatch, 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "limits" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "limits" / name).write_text(text + "\n")
    monkeypatch.setattr(processors, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(processors, "LIMITS", tmp_path / "limits")
    assert processors.allowed_threads() == count


@linux
def test_retrievers_take_no_more_threads_than_the_process_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has, or the command asks for."""
    processors_are(monkeypatch, 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [Means(threads).cores for threads in (None, 2, 64)] == [4, 2, 4]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Means().cores == 3
