"""Writing and reading episodes: shards, manifest, going on at a position."""

import hashlib
import json
from pathlib import Path

import pytest

from stepopsd_wrappers import EpisodeFormatError, EpisodeWriter, RecordingError, read_episodes
from tests.helpers.text_env import make_episode, manifest, record, recorded_numbers, shard

LINE = len(make_episode(0).to_json()) + 1  # as long as that of every episode with a number of one digit
ROOT = Path(__file__).parents[2]


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_episode_writer_writes_what_read_episodes_reads(tmp_path: Path) -> None:
    """From a folder or from one shard; folders are made."""
    episodes = [make_episode(n, num_steps=n) for n in range(1, 4)]
    with EpisodeWriter(tmp_path / "new" / "episodes") as writer:
        for episode in episodes:
            writer.append(episode)
    assert list(read_episodes(tmp_path / "new" / "episodes")) == episodes
    assert list(read_episodes(shard(tmp_path / "new" / "episodes", 0))) == episodes


def test_episode_writer_shows_each_episode_before_it_is_closed(tmp_path: Path) -> None:
    """A reader need not wait for the end."""
    with EpisodeWriter(tmp_path, fsync=True) as writer:
        for number in range(3):
            writer.append(make_episode(number))
            assert recorded_numbers(tmp_path) == list(range(number + 1))


def test_episode_writer_lists_closed_shards_with_their_hash(tmp_path: Path) -> None:
    """The open shard is not listed, at the end all are."""
    with EpisodeWriter(tmp_path, shard_size=2 * LINE) as writer:
        for number in range(5):
            writer.append(make_episode(number))
        assert [entry["file"] for entry in manifest(tmp_path)] == [shard(tmp_path, i).name for i in (0, 1)]
    assert [entry["episodes"] for entry in manifest(tmp_path)] == [2, 2, 1]
    for index, entry in enumerate(manifest(tmp_path)):
        data = shard(tmp_path, index).read_bytes()
        assert entry["file"] == shard(tmp_path, index).name
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert not list(tmp_path.glob("*.tmp"))


def test_episode_writer_takes_an_episode_larger_than_a_shard(tmp_path: Path) -> None:
    """It gets a shard of its own."""
    record(tmp_path, range(3), shard_size=1)
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == [
        shard(tmp_path, i).name for i in range(3)
    ]
    assert recorded_numbers(tmp_path) == [0, 1, 2]


def test_episode_writer_appends_as_if_never_closed(tmp_path: Path) -> None:
    """Byte by byte, manifest included."""
    record(tmp_path / "once", range(5), shard_size=2 * LINE)
    for numbers in (range(0), range(1), range(1, 4), range(4, 5)):
        record(tmp_path / "often", numbers, shard_size=2 * LINE)
    assert content(tmp_path / "often") == content(tmp_path / "once")


def test_episode_writer_refuses_what_json_cannot_hold_and_writes_nothing(tmp_path: Path) -> None:
    """The next episode is recorded as usual."""
    bad = make_episode(1)
    bad.steps[0].info["extra"] = {1}
    with EpisodeWriter(tmp_path) as writer:
        writer.append(make_episode(0))
        with pytest.raises(EpisodeFormatError, match=r"steps\[0\]\.info\.extra"):
            writer.append(bad)
        writer.append(make_episode(2))
    assert recorded_numbers(tmp_path) == [0, 2]


def test_broken_line_before_the_last_is_named(tmp_path: Path) -> None:
    """No crash does that, so it is an error."""
    record(tmp_path, range(3))
    data = shard(tmp_path, 0).read_bytes()
    shard(tmp_path, 0).write_bytes(data[:LINE] + b"#" + data[LINE + 1 :])
    with pytest.raises(EpisodeFormatError, match=r"episodes-00000\.jsonl line 2: not JSON"):
        recorded_numbers(tmp_path)


def test_changed_closed_shard_is_noticed(tmp_path: Path) -> None:
    """By its hash, though every line is an episode."""
    record(tmp_path, range(3))
    data = shard(tmp_path, 0).read_bytes()
    shard(tmp_path, 0).write_bytes(data.replace(b"stand at 1", b"stand at 7", 1))
    with pytest.raises(EpisodeFormatError, match="SHA-256 differs"):
        recorded_numbers(tmp_path)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    """For readers and writers."""
    record(tmp_path, range(3), shard_size=LINE)
    shard(tmp_path, 1).unlink()
    with pytest.raises(EpisodeFormatError, match=r"episodes-00001\.jsonl is missing"):
        read_episodes(tmp_path)
    with pytest.raises(EpisodeFormatError, match=r"episodes-00001\.jsonl is missing"):
        EpisodeWriter(tmp_path)


def test_missing_last_shard_is_named(tmp_path: Path) -> None:
    """A folder that was copied in part must not pass for a whole one; a position before the loss is kept."""
    with EpisodeWriter(tmp_path, shard_size=LINE) as writer:
        writer.append(make_episode(0))
        position = writer.position()
        writer.append(make_episode(1))
        writer.append(make_episode(2))
    shard(tmp_path, 2).unlink()
    for use in (read_episodes, EpisodeWriter):
        with pytest.raises(EpisodeFormatError, match=r"episodes-00002\.jsonl is missing.*manifest\.json"):
            use(tmp_path)
    assert len(list(read_episodes(shard(tmp_path, 1)))) == 1
    EpisodeWriter(tmp_path, position).close()
    assert recorded_numbers(tmp_path) == [0]


def test_read_episodes_says_where_there_are_none(tmp_path: Path) -> None:
    """A folder without shards is a mistake, an empty shard is not."""
    with pytest.raises(FileNotFoundError, match=r"holds no episodes-\*\.jsonl"):
        read_episodes(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        read_episodes(tmp_path / "nowhere")
    record(tmp_path, range(0))
    assert recorded_numbers(tmp_path) == []


@pytest.mark.parametrize("kept", range(6))
def test_episode_writer_resumed_at_a_position_is_like_never_interrupted(tmp_path: Path, kept: int) -> None:
    """What came later is gone, later shards and a torn line included."""
    record(tmp_path / "whole", range(6), shard_size=2 * LINE)
    with EpisodeWriter(tmp_path / "resumed", shard_size=2 * LINE) as writer:
        for number in range(kept):
            writer.append(make_episode(number))
        position = json.loads(json.dumps(writer.position()))
        for number in range(kept, 8):
            writer.append(make_episode(number, response="lost"))
    with open(sorted((tmp_path / "resumed").glob("*.jsonl"))[-1], "ab") as file:
        file.write(b"torn")
    record(tmp_path / "resumed", range(kept, 6), position=position, shard_size=2 * LINE)
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_episode_writer_position_counts_episodes(tmp_path: Path) -> None:
    """Over all shards."""
    with EpisodeWriter(tmp_path, shard_size=2 * LINE) as writer:
        assert writer.position() == {"shard": 0, "offset": 0, "episodes": 0}
        for number in range(3):
            writer.append(make_episode(number))
        writer.sync()
        assert writer.position() == {"shard": 1, "offset": LINE, "episodes": 3}


@pytest.mark.parametrize(
    "position",
    [
        {"shard": 0, "offset": 3 * LINE, "episodes": 3},
        {"shard": 0, "offset": LINE + 1, "episodes": 1},
        {"shard": 0, "offset": LINE, "episodes": 2},
        {"shard": 3, "offset": 0, "episodes": 2},
    ],
)
def test_episode_writer_refuses_a_position_the_files_do_not_have(
    tmp_path: Path, position: dict[str, int]
) -> None:
    """And changes nothing."""
    record(tmp_path, range(2))
    before = content(tmp_path)
    with pytest.raises(EpisodeFormatError, match="resume from an older position"):
        EpisodeWriter(tmp_path, position)
    assert content(tmp_path) == before


@pytest.mark.parametrize("position", [{}, {"shard": 0}, {"shard": 0, "offset": -1, "episodes": 0}])
def test_episode_writer_refuses_what_is_no_position(tmp_path: Path, position: dict[str, int]) -> None:
    """Missing keys or a negative offset."""
    with pytest.raises(ValueError, match=r"EpisodeWriter\.position\(\)"):
        EpisodeWriter(tmp_path, position)


def test_episode_writer_names_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    """A file stands there."""
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="file"):
        EpisodeWriter(tmp_path / "file")
    with pytest.raises(RecordingError, match="file"):
        EpisodeWriter(tmp_path / "file" / "episodes")


def test_read_manifest_names_a_broken_manifest(tmp_path: Path) -> None:
    """And says that it can be made anew."""
    record(tmp_path, range(1))
    (tmp_path / "manifest.json").write_text('{"schema": "other", "shards": []}')
    with pytest.raises(EpisodeFormatError, match=r"manifest\.json is not a manifest .*delete it"):
        recorded_numbers(tmp_path)
