"""What was recorded is kept: crashes, kills, full disks, two writers."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import gymnasium as gym
import pytest

from stepopsd_wrappers import EpisodeWriter, RecordEpisode, RecordingError, read_episodes
from tests.helpers.text_env import ENV_ID, make_episode, manifest, record, recorded_numbers, shard

LINE = len(make_episode(0).to_json()) + 1  # as long as that of every episode with a number of one digit
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tail", [b"{", make_episode(2).to_json().encode(), b"\0" * 9, b"{]\n"])
def test_torn_last_line_is_skipped_by_readers_and_removed_by_writers(tmp_path: Path, tail: bytes) -> None:
    """Half a line, a line without its end, zeros, rubbish."""
    record(tmp_path, range(2))
    (tmp_path / "manifest.json").unlink()  # a writer that crashed has not listed its last shard
    with open(shard(tmp_path, 0), "ab") as file:
        file.write(tail)
    with pytest.warns(RuntimeWarning, match=rf"episodes-00000\.jsonl: skipped .* {len(tail)} bytes"):
        assert recorded_numbers(tmp_path) == [0, 1]
    with pytest.warns(RuntimeWarning, match=rf"episodes-00000\.jsonl: removed .* {len(tail)} bytes"):
        record(tmp_path, range(2, 4))
    assert recorded_numbers(tmp_path) == [0, 1, 2, 3]


def test_every_truncation_of_the_last_line_is_recovered(tmp_path: Path) -> None:
    """Wherever the crash cut it."""
    record(tmp_path, range(2))
    (tmp_path / "manifest.json").unlink()
    for size in range(2 * LINE - 1, LINE, -7):
        os.truncate(shard(tmp_path, 0), size)
        with pytest.warns(RuntimeWarning, match=f"{size - LINE} bytes"):
            assert recorded_numbers(tmp_path) == [0]


def no_space(written: int) -> Callable[[int, memoryview], int]:
    """An `os.write` on a disk with room for `written` bytes more."""
    room, real_write = [written], os.write

    def write_until_full(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real_write(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    return write_until_full


@pytest.mark.parametrize("room", [0, 1, LINE - 1])
def test_episode_writer_on_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """The part that did fit is cut off again."""
    with EpisodeWriter(tmp_path) as writer:
        writer.append(make_episode(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", no_space(room))
            with pytest.raises(
                RecordingError, match=r"episodes-00000\.jsonl: No space left .*free some space"
            ):
                writer.append(make_episode(1))
        assert shard(tmp_path, 0).stat().st_size == LINE
        writer.append(make_episode(2))  # space was freed
    assert recorded_numbers(tmp_path) == [0, 2]


def test_episode_writer_keeps_going_when_the_manifest_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is closed when there is room again."""

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    with EpisodeWriter(tmp_path, shard_size=LINE) as writer:
        writer.append(make_episode(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(RecordingError, match=r"manifest\.json: No space left"):
                writer.append(make_episode(1))
        writer.append(make_episode(2))
    assert recorded_numbers(tmp_path) == [0, 2]
    assert [entry["episodes"] for entry in manifest(tmp_path)] == [1, 1]


def test_episode_writer_interrupted_in_a_line_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a write."""
    real_write = os.write

    def interrupted(descriptor: int, data: memoryview) -> int:
        real_write(descriptor, data[:10])
        raise KeyboardInterrupt

    with EpisodeWriter(tmp_path) as writer:
        writer.append(make_episode(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                writer.append(make_episode(1))
    assert recorded_numbers(tmp_path) == [0]


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with `folder` as its argument."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "wrappers")])}
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_episode_writer_at_the_system_s_file_size_limit_keeps_what_was_written(tmp_path: Path) -> None:
    """A real refusal by the system, in the middle of the third line."""
    code = f"""
        import resource, sys
        from stepopsd_wrappers import EpisodeWriter
        from tests.helpers.text_env import ENV_ID, make_episode
        resource.setrlimit(resource.RLIMIT_FSIZE, ({LINE * 5 // 2}, resource.RLIM_INFINITY))
        with EpisodeWriter(sys.argv[1]) as writer:
            for number in range(4):
                writer.append(make_episode(number))
    """
    result = run_python(code, tmp_path)
    assert "RecordingError: cannot record to" in result.stderr and "File too large" in result.stderr
    assert shard(tmp_path, 0).stat().st_size == 2 * LINE
    assert recorded_numbers(tmp_path) == [0, 1]
    assert manifest(tmp_path)[0]["episodes"] == 2


def test_episode_writer_killed_without_notice_loses_nothing_written(tmp_path: Path) -> None:
    """SIGKILL with half a line on the disk."""
    code = """
        import os, signal, sys
        from stepopsd_wrappers import EpisodeWriter
        from tests.helpers.text_env import ENV_ID, make_episode
        writer = EpisodeWriter(sys.argv[1])
        for number in range(3):
            writer.append(make_episode(number))
        os.write(writer._file.fileno(), b"half a line")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_python(code, tmp_path).returncode == -9
    with pytest.warns(RuntimeWarning, match="11 bytes"):
        record(tmp_path, range(3, 5))
    assert recorded_numbers(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_episode_writer_refuses_a_folder_another_process_writes(tmp_path: Path) -> None:
    """Its resume must not cut what the first one writes."""
    code = """
        import sys
        from stepopsd_wrappers import EpisodeWriter
        EpisodeWriter(sys.argv[1], {"shard": 0, "offset": 0, "episodes": 0})
    """
    with EpisodeWriter(tmp_path) as writer:
        writer.append(make_episode(0))
        assert "is being written by another process" in run_python(code, tmp_path).stderr
        assert recorded_numbers(tmp_path) == [0]
    assert run_python(code, tmp_path).returncode == 0
    assert recorded_numbers(tmp_path) == []


@pytest.mark.parametrize("position", [None, {"shard": 0, "offset": 0, "episodes": 0}])
def test_episode_writer_refuses_a_folder_this_process_writes(
    tmp_path: Path, position: dict[str, int] | None
) -> None:
    """By whatever name the folder is given; the first writer keeps its lock on other processes."""
    code = "import sys; from stepopsd_wrappers import EpisodeWriter; EpisodeWriter(sys.argv[1])"
    (tmp_path / "other name").symlink_to(tmp_path / "episodes")
    with EpisodeWriter(tmp_path / "episodes") as writer:
        writer.append(make_episode(0))
        for name in ("episodes", "other name", "../" + tmp_path.name + "/episodes"):
            with pytest.raises(RecordingError, match=r"another recorder of this process.*writer=writer"):
                EpisodeWriter(tmp_path / name, position)
        assert "is being written by another process" in run_python(code, tmp_path / "episodes").stderr
        writer.append(make_episode(1))
    assert recorded_numbers(tmp_path / "episodes") == [0, 1]
    record(tmp_path / "other name", range(2, 3))
    assert recorded_numbers(tmp_path / "episodes") == [0, 1, 2]


def test_episode_writer_that_is_gone_frees_its_folder(tmp_path: Path) -> None:
    """Forgotten without close, as in a notebook that makes it again."""
    writer = EpisodeWriter(tmp_path)
    writer.append(make_episode(0))
    del writer
    record(tmp_path, range(1, 2))
    assert recorded_numbers(tmp_path) == [0, 1]


def test_record_episode_of_a_vector_env_loses_nothing(tmp_path: Path) -> None:
    """Recorders on one folder are refused, recorders with one writer are not."""
    make = partial(gym.make_vec, ENV_ID, 3, vectorization_mode="sync")
    with pytest.raises(RecordingError, match="another recorder of this process"):
        make(wrappers=[lambda env: RecordEpisode(env, tmp_path / "one")])
    with EpisodeWriter(tmp_path / "two") as writer:
        envs = make(wrappers=[lambda env: RecordEpisode(env, writer=writer)])
        for seed in range(2):
            envs.reset(seed=seed)
            envs.step(["help"] * 3)
        envs.close()
    assert len(list(read_episodes(tmp_path / "two"))) == 6


def test_recording_to_a_file_asks_for_a_folder(tmp_path: Path) -> None:
    """Free space would not help."""
    (tmp_path / "mine.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(RecordingError, match=r"mine\.py is a file; name a folder to record to"):
        EpisodeWriter(tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "x = 1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_episode_writer_refuses_to_be_used_by_a_fork(tmp_path: Path) -> None:
    """One of the two would cut off what the other wrote, and neither would know."""
    code = """
        import os, sys
        from stepopsd_wrappers import EpisodeWriter, RecordingError
        from tests.helpers.text_env import make_episode
        writer = EpisodeWriter(sys.argv[1])
        writer.append(make_episode(0))
        if os.fork() == 0:
            try:
                writer.append(make_episode(1))
            except RecordingError as error:
                print(error, flush=True)
            writer.close()
            os._exit(0)
        os.wait()
        writer.append(make_episode(2))
    """
    assert "open a writer in each process" in run_python(code, tmp_path).stdout
    assert recorded_numbers(tmp_path) == [0, 2]
    assert not (tmp_path / "manifest.json").exists()


def test_episode_writer_says_that_it_is_closed(tmp_path: Path) -> None:
    """To an environment that is played on after `close`."""
    writer = EpisodeWriter(tmp_path)
    writer.close()
    with pytest.raises(RecordingError, match=r"is closed; open another"):
        writer.append(make_episode(0))


def test_writer_is_shared_by_threads(tmp_path: Path) -> None:
    """No line is torn or cut off by another thread's, across shards."""
    with EpisodeWriter(tmp_path, shard_size=20_000) as writer:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: writer.append(make_episode(number)), range(200)))
        assert writer.position()["episodes"] == 200
    assert sorted(recorded_numbers(tmp_path)) == list(range(200))


def test_writer_of_a_moved_folder_leaves_the_one_in_its_place_alone(tmp_path: Path) -> None:
    """Both stay readable."""
    moved, here = tmp_path / "moved", tmp_path / "here"
    writer = EpisodeWriter(here)
    writer.append(make_episode(0))
    here.rename(moved)
    with EpisodeWriter(here) as other:
        other.append(make_episode(1))
    writer.append(make_episode(2))
    with pytest.raises(RecordingError, match="another folder than the one that this writer has open"):
        writer.close()
    assert (recorded_numbers(here), recorded_numbers(moved)) == ([1], [0, 2])
    with EpisodeWriter(moved) as writer:
        writer.append(make_episode(3))
    assert recorded_numbers(moved) == [0, 2, 3]
