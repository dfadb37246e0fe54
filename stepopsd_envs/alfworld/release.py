"""The published games of ALFWorld, release json_2.1.1: their number, and hashes of the known files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from stepopsd_envs.file_index import digest_of
from stepopsd_envs.manifest import TaskFile, fingerprint_files

PUBLISHED = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """The games of a split on disk, compared with the published ones.

    Attributes:
        split: its name.
        found: number of games on disk.
        published: number of published games; None for a split with an unknown number.
        same: number of games whose bytes equal those of the published file.
        changed: ids of the games whose bytes differ.
        unknown: number of games without a known hash to compare with.
        fingerprint: fingerprint of all games on disk.
    """

    split: str
    found: int
    published: int | None
    same: int
    changed: tuple[str, ...]
    unknown: int
    fingerprint: str

    @property
    def good(self) -> bool:
        """Whether no game is changed and there are not more than published; fewer games are good, too."""
        return not self.changed and (self.published is None or self.found <= self.published)

    def __str__(self) -> str:
        """The result in one line."""
        files = f"{self.same:,} of {self.found:,} files" if self.unknown else "every file"
        compared = f"{files} compared, as published"
        if self.changed:
            return f"{len(self.changed):,} damaged or changed, such as {self.changed[0]}"
        if self.published is None:
            return f"{self.found:,} games; nothing is published to compare them with"
        if self.found > self.published:
            return f"more games than published: {self.found:,} instead of {self.published:,}"
        if self.found < self.published:
            return f"a part: {self.found:,} of {self.published:,} games; {compared}"
        return f"complete; {compared}"


def check_split(split: str, games: Sequence[TaskFile]) -> SplitCheck:
    """Compare the games of a split with the published ones."""
    known = known_games().get(split, {})
    expected = [known.get(id_hash(game)) for game in games]
    pairs = list(zip(games, expected, strict=True))
    return SplitCheck(
        split,
        len(games),
        PUBLISHED.get(split),
        same=sum(game.digest.startswith(digest) for game, digest in pairs if digest is not None),
        changed=tuple(
            game.task_id
            for game, digest in pairs
            if digest is not None and not game.digest.startswith(digest)
        ),
        unknown=expected.count(None),
        fingerprint=fingerprint_files(games),
    )


def is_published(game: TaskFile) -> bool:
    """Whether a game, to judge by its hash, is the published one of this id."""
    digest = known_games().get(game.task_id.partition("/")[0], {}).get(id_hash(game))
    return digest is not None and game.digest.startswith(digest)


def id_hash(game: TaskFile) -> str:
    """Short hash of a task id, the key in ``known_games``; full ids would make the list 4 times as long."""
    return digest_of(game.task_id.encode())[:10]


@lru_cache(maxsize=1)
def known_games() -> Mapping[str, Mapping[str, str]]:
    """``[split][id_hash]``: half of the file's hash, written by ``benchmarks/alfworld/known_games.py``."""
    text = resources.files(__package__).joinpath("release.json").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded
