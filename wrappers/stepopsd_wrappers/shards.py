"""Files in a folder of episodes: numbered shards of JSON lines, and a manifest of the closed shards.

A line counts only with its newline. A crash can leave one unfinished line, at the end of the last shard.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers.episode import Episode
from stepopsd_wrappers.plain_json import EpisodeFormatError
from stepopsd_wrappers.shard_compression import is_packed, open_shard, packed_path, shard_name

if TYPE_CHECKING:
    from hashlib import _Hash

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "stepopsd.manifest/1"
_SHARD = re.compile(r"episodes-(\d{5,})\.jsonl(\.gz)?")


@dataclass(frozen=True, slots=True)
class ClosedShard:
    """Entry of the manifest: name, number of episodes, size in bytes and SHA-256 of a closed shard.

    Size and hash are those of the plain file, also if the shard is packed.
    """

    file: str
    episodes: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardState:
    """Size in bytes, number and hash of a shard's whole lines; frozen, so no interrupt can tear it."""

    size: int = 0
    episodes: int = 0
    digest: "_Hash" = field(default_factory=hashlib.sha256)

    def after(self, line: bytes) -> "ShardState":
        """Return the state after one more whole line."""
        digest = self.digest.copy()
        digest.update(line)
        return ShardState(self.size + len(line), self.episodes + 1, digest)

    def closed(self, file: str) -> ClosedShard:
        """Return the manifest's entry for this shard."""
        return ClosedShard(file, self.episodes, self.size, self.digest.hexdigest())


def shard_path(folder: Path, index: int) -> Path:
    """Return the path of the shard with this index."""
    return folder / f"episodes-{index:05d}.jsonl"


def shard_paths(folder: Path) -> list[Path]:
    """Return the shards of `folder` in order; if one is there plain and packed, the plain file.

    Raises:
        EpisodeFormatError: a shard between the first and the last is missing.
    """
    matches = sorted(
        (m for path in folder.iterdir() if (m := _SHARD.fullmatch(path.name))), key=_packed_first
    )
    shards = {int(match[1]): folder / match[0] for match in matches}
    for index in range(len(shards)):
        if index not in shards:
            raise EpisodeFormatError(
                f"{shard_path(folder, index)} is missing although later shards exist; put it back, or move "
                "the later ones away"
            )
    return [shards[index] for index in sorted(shards)]


def _packed_first(match: re.Match[str]) -> bool:
    return match[2] is None


def require_listed(entries: Iterable[ClosedShard], paths: Iterable[Path]) -> None:
    """Refuse a folder without its last shards, whose numbers leave no gap.

    Args:
        entries: of the manifest.
        paths: the shards that are there.

    Raises:
        EpisodeFormatError: a shard that the manifest lists is missing.
    """
    there = {shard_name(path) for path in paths}
    missing = [entry for entry in entries if entry.file not in there]
    if missing:
        raise EpisodeFormatError(
            f"{missing[0].file} is missing although {MANIFEST} lists it with {missing[0].episodes} episodes; "
            f"put it back, or delete {MANIFEST} if you removed it on purpose"
        )


def remove_shard(path: Path) -> None:
    """Remove a shard, packed or not."""
    packed_path(path.with_name(shard_name(path))).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def read_manifest(folder: Path) -> list[ClosedShard]:
    """Return the entries of the manifest in `folder`; an empty list if there is no manifest yet.

    Raises:
        EpisodeFormatError: the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return []
    try:
        content = json.loads(plain_file(path).read_text(encoding="utf-8"))
        if content["schema"] != MANIFEST_SCHEMA:
            raise ValueError(f"schema {content['schema']!r} is not {MANIFEST_SCHEMA!r}")
        return [ClosedShard(**entry) for entry in content["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EpisodeFormatError(
            f"{path} is not a manifest of episodes ({error}); delete it: the next writer makes a new one"
        ) from error


def write_manifest(folder: Path, entries: list[ClosedShard]) -> None:
    """Replace the manifest atomically: a crash leaves the old one or the new one."""
    temporary = folder / f"{MANIFEST}.tmp"
    content = {"schema": MANIFEST_SCHEMA, "shards": [asdict(entry) for entry in entries]}
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / MANIFEST)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def scan(path: Path, end: int | None = None) -> ShardState:
    """Return the state of all whole lines of a shard, or of those before byte `end`.

    Without `end`, a last line is not counted if it lacks the newline or is not JSON: a power cut may leave
    zeros.

    Raises:
        EpisodeFormatError: no line of the shard ends at byte `end`.
    """
    state = ShardState()
    with open_shard(path) as file:
        line = file.readline()
        while line and (end is None or state.size + len(line) <= end):
            following = file.readline()
            if end is None and not following and not _is_whole(line):
                break
            state = state.after(line)
            line = following
    if end is not None and state.size != end:
        raise EpisodeFormatError(
            f"{path} has no episode that ends at byte {end}, the position to resume from: the file was "
            "changed or lost; resume from an older position, or record into a new folder"
        )
    return state


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def read_episodes(path: str | os.PathLike[str]) -> Iterator[Episode]:
    """Return an iterator over the episodes in a folder or in one shard, in the order of recording.

    An unfinished last line is skipped with a warning. Closed shards are checked against the manifest's
    SHA-256.

    Args:
        path: a folder that `EpisodeWriter` wrote, or one of its shards.

    Raises:
        FileNotFoundError: there are no episodes at `path`.
        EpisodeFormatError: a shard or the manifest cannot be read, or a closed shard was changed or is gone.
            A line is checked when the iterator reaches it; the message names file and line.
    """
    given = user_path(path)
    if not given.exists():
        raise FileNotFoundError(f"{given}: there is no such folder; give one of recorded episodes")
    folder = given if given.is_dir() else given.parent
    closed = read_manifest(folder)  # before the shards, which a writer makes before it lists them
    paths = shard_paths(given) if given.is_dir() else [given] if given.is_file() else []
    if not paths:
        raise FileNotFoundError(
            f"{given} holds no episodes-*.jsonl; a run keeps them in its folder episodes/"
        )
    if given.is_dir():
        require_listed(closed, paths)
    return _episodes_of(paths, {entry.file: entry for entry in closed})


def _episodes_of(paths: list[Path], closed: dict[str, ClosedShard]) -> Iterator[Episode]:
    for path in paths:
        state = yield from _episodes_in(path, path == paths[-1])
        entry = closed.get(shard_name(path))
        if entry is not None and entry != state.closed(shard_name(path)):
            raise EpisodeFormatError(
                f"{path}: SHA-256 differs from the one in {MANIFEST}; restore the file, or delete {MANIFEST} "
                "if you changed the episodes on purpose"
            )


def _episodes_in(path: Path, last_shard: bool) -> Generator[Episode, None, ShardState]:
    state = ShardState()
    with open_shard(path) as file:
        line = file.readline()
        while line:
            following = file.readline()
            if last_shard and not following and not _is_whole(line):
                warnings.warn(
                    f"{path}: skipped an unfinished last line of {len(line)} bytes",
                    RuntimeWarning,
                    stacklevel=3,
                )
                break
            state = state.after(line)
            yield _episode_of(line, path, state.episodes)
            line = following
    return state


def _episode_of(line: bytes, path: Path, number: int) -> Episode:
    try:
        return Episode.from_json(line.decode("ascii"))
    except ValueError as error:
        raise EpisodeFormatError(f"{path} line {number}: {error}") from error


def closed_shards(folder: Path, paths: list[Path]) -> list[ClosedShard]:
    """The manifest's entries for `paths`; a missing entry is computed from the shard.

    Raises:
        EpisodeFormatError: a shard has another size than the manifest says.
    """
    listed = {entry.file: entry for entry in read_manifest(folder)}
    entries = [listed.get(shard_name(path)) or scan(path).closed(shard_name(path)) for path in paths]
    for path, entry in zip(paths, entries, strict=True):
        if not is_packed(path) and path.stat().st_size != entry.bytes:
            raise EpisodeFormatError(
                f"{path} has {path.stat().st_size} bytes, but the manifest says {entry.bytes}: it was "
                "changed after it was closed; restore it, or record into a new folder"
            )
    return entries
