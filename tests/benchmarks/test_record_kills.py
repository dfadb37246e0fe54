"""The recorder killed at random moments, in short; and the check itself notices what is wrong."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.records import kills
from stepopsd_wrappers import Episode, EpisodeWriter

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason=f"{sys.platform} cannot fork")


@needs_fork
def test_five_kills_lose_nothing_that_was_closed(tmp_path: Path) -> None:
    """And leave nothing else; all replays are equal."""
    figures = kills.kill_often(tmp_path / "episodes", kills=5, seed=1, longest=0.2)
    assert kills.reached(figures), figures
    assert figures["episodes"] >= 5 and figures["kills"] == 5


@needs_fork
def test_a_recorder_that_loses_an_episode_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says it has written what it keeps in memory."""
    append = EpisodeWriter.append
    kept: list[object] = []

    def later(self: EpisodeWriter, episode: Episode) -> None:
        if kept:
            append(self, episode)
        kept.append(episode)

    monkeypatch.setattr(EpisodeWriter, "append", later)
    figures = kills.kill_often(tmp_path / "episodes", kills=2, seed=1, longest=0.2)
    assert figures["missing"] and not kills.reached(figures)
