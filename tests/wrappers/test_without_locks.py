"""Recording on file systems that have no locks."""

import errno
import os
import sys
from pathlib import Path

import pytest

from stepopsd_wrappers import EpisodeWriter, RecordingError
from tests.helpers.text_env import make_episode, recorded_numbers


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_episode_writer_does_without_locks_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems; another recorder of this process is refused all the same."""

    def answer(error: int) -> None:
        def lockf(file: object, how: int) -> None:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr("fcntl.lockf", lockf)

    answer(errno.ENOLCK)
    with EpisodeWriter(tmp_path) as writer:
        writer.append(make_episode(0))
        with pytest.raises(RecordingError, match="another recorder of this process"):
            EpisodeWriter(tmp_path)
    assert recorded_numbers(tmp_path) == [0]
    answer(errno.EIO)
    with pytest.raises(RecordingError, match=os.strerror(errno.EIO)):
        EpisodeWriter(tmp_path)
