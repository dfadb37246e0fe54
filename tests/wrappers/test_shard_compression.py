"""Packed shards: the same episodes, the same manifest, and no moment at which a kill would lose one."""

import errno
import gzip
import os
import shutil
from pathlib import Path

import pytest

from stepopsd_wrappers import EpisodeFormatError, EpisodeWriter
from stepopsd_wrappers.shard_compression import pack, packed_path, unpack
from tests.helpers.text_env import make_episode, manifest, record, recorded_numbers, shard

LINE = len(make_episode(0).to_json()) + 1


def names(folder: Path) -> list[str]:
    """The shards in a folder."""
    return sorted(path.name for path in folder.glob("episodes-*"))


def test_packed_shards_are_read_as_plain_ones(tmp_path: Path) -> None:
    """Equal episodes and an equal manifest, on less disk."""
    record(tmp_path / "plain", range(5), shard_size=2 * LINE)
    record(tmp_path / "packed", range(5), shard_size=2 * LINE, compress=True)
    assert names(tmp_path / "packed") == [f"episodes-0000{k}.jsonl.gz" for k in range(3)]
    assert recorded_numbers(tmp_path / "packed") == recorded_numbers(tmp_path / "plain") == [0, 1, 2, 3, 4]
    assert manifest(tmp_path / "packed") == manifest(tmp_path / "plain")
    first = packed_path(shard(tmp_path / "packed", 0))
    assert gzip.decompress(first.read_bytes()) == shard(tmp_path / "plain", 0).read_bytes()
    assert first.stat().st_size < shard(tmp_path / "plain", 0).stat().st_size / 2
    assert recorded_numbers(first) == [0, 1]


@pytest.mark.parametrize("compress", [True, False])
def test_a_writer_goes_on_in_a_packed_folder(tmp_path: Path, compress: bool) -> None:
    """At the end, or at a position within a packed shard, after which everything goes."""
    with EpisodeWriter(tmp_path, shard_size=2 * LINE, compress=True) as writer:
        for number in range(3):
            writer.append(make_episode(number))
        position = writer.position()
        for number in range(3, 7):
            writer.append(make_episode(number))
    record(tmp_path, range(7, 8), shard_size=2 * LINE, compress=compress)
    assert recorded_numbers(tmp_path) == list(range(8))
    record(tmp_path, range(9, 10), position=position, shard_size=2 * LINE, compress=compress)
    assert recorded_numbers(tmp_path) == [0, 1, 2, 9]
    assert len(names(tmp_path)) == 2 and [entry["episodes"] for entry in manifest(tmp_path)] == [2, 2]


def test_a_shard_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    """As a kill between packing and removing leaves it; the next writer takes the packed one away."""
    record(tmp_path, range(2))
    shutil.copy(shard(tmp_path, 0), tmp_path / "kept")
    pack(shard(tmp_path, 0))
    os.replace(tmp_path / "kept", shard(tmp_path, 0))
    assert recorded_numbers(tmp_path) == [0, 1]
    record(tmp_path, range(2, 3))
    assert recorded_numbers(tmp_path) == [0, 1, 2] and names(tmp_path) == [shard(tmp_path, 0).name]
    pack(shard(tmp_path, 0))
    unpack(shard(tmp_path, 0))
    assert recorded_numbers(tmp_path) == [0, 1, 2] and names(tmp_path) == [shard(tmp_path, 0).name]


def test_a_damaged_packed_shard_is_named(tmp_path: Path) -> None:
    """Cut, and changed."""
    record(tmp_path, range(2), compress=True)
    path = packed_path(shard(tmp_path, 0))
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:40] + b"\0\0\0" + whole[43:]):
        path.write_bytes(damaged)
        with pytest.raises(EpisodeFormatError, match=r"episodes-00000\.jsonl\.gz"):
            recorded_numbers(tmp_path)


def test_no_room_to_pack_costs_no_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain shard stays, with a warning, and nothing half made."""

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".gz.tmp"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="stays unpacked: No space left"):
        record(tmp_path, range(3), shard_size=2 * LINE, compress=True)
    assert recorded_numbers(tmp_path) == [0, 1, 2] and not list(tmp_path.glob("*.tmp"))
