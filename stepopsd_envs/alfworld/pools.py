"""Pools of games, from the generator or from official files: a list of task ids that loads the games."""

import re
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from itertools import count, islice
from typing import Protocol

from stepopsd_envs.alfworld.game import TASK_TYPES, Game
from stepopsd_envs.alfworld.generator import SPLITS, TIERS, VERSIONS, generate_game, task_type_at
from stepopsd_envs.alfworld.official import SUFFIX, find_files, load_file, require_playable, task_type_of
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, fingerprint, fingerprint_files
from stepopsd_envs.user_path import user_path

GENERATED = "generated"
DEFAULT_NUM_GAMES = {"train": 10_000, "test": 1_000}
CACHED_GAMES = 256  # for all environments of a process together
_GENERATED_ID = re.compile(rf"{GENERATED}/([a-z]+)/([a-z]+)/(0|[1-9][0-9]{{0,17}})")


class GamePool(Protocol):
    """The games that an environment draws from, in canonical order."""

    @property
    def task_ids(self) -> tuple[str, ...]:
        """One id per game, in canonical order."""

    @property
    def fingerprint(self) -> str:
        """Hash of the ids and contents of the games."""

    def game(self, name: str) -> Game:
        """The game with this id; a pool of files also accepts a path. Raises ``GamesNotFoundError``."""

    def path(self, name: str) -> str | None:
        """The file of this game; None for a generated game."""


class GeneratedPool:
    """Games ``generated/<tier>/<split>/<n>``, each generated at its first use."""

    def __init__(
        self, tier: str, split: str, task_types: Collection[str] | None, num_games: int | None
    ) -> None:
        require_one_of("tier", tier, TIERS)
        require_one_of("split", split, SPLITS)
        self._tier, self._split, self._task_types = tier, split, task_types
        self._num_games = num_games or DEFAULT_NUM_GAMES[split]

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The first ``num_games`` ids whose task type is one of the given types."""
        types = None if self._task_types is None else frozenset(self._task_types)
        return _generated_ids(self._tier, self._split, types, self._num_games)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that determines the games."""
        types = ",".join(sorted(self._task_types or TASK_TYPES))
        settings = {
            "generator": str(VERSIONS[self._tier]),
            "tier": self._tier,
            "split": self._split,
            "num_games": str(self._num_games),
            "task_types": types,
        }
        return fingerprint(settings.items())

    def game(self, name: str) -> Game:
        """The game with this id, of any tier, split and number.

        Raises:
            GamesNotFoundError: the id has another form.
        """
        match = _GENERATED_ID.fullmatch(name)
        if not match or match[1] not in TIERS or match[2] not in SPLITS:
            raise GamesNotFoundError(
                f"no generated game {name!r}: give {GENERATED}/<tier>/<split>/<number> with tier one of "
                f"{sorted(TIERS)} and split one of {sorted(SPLITS)}"
            )
        return _generated(match[1], match[2], int(match[3]))

    def path(self, name: str) -> None:
        """Return None: generated games have no files."""


class FilePool:
    """Official games on disk."""

    def __init__(
        self, files: Sequence[TaskFile], task_types: Collection[str] | None, num_games: int | None
    ) -> None:
        kept = tuple(file for file in files if task_types is None or task_type_of(file) in task_types)
        if not kept:
            raise GamesNotFoundError(
                f"none of the {len(files)} games is of type {sorted(task_types or ())}: give other "
                "task_types or other games"
            )
        if num_games is not None and num_games > len(kept):
            raise ValueError(
                f"num_games={num_games}, but there are only {len(kept)} games; give at most {len(kept)}"
            )
        self._files = kept[:num_games]
        require_playable(self._files)  # now, and not when one is drawn hours later
        self._file_of = {file.task_id: file for file in files}

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The ids ``<split>/<task>/<trial>``, sorted."""
        return tuple(file.task_id for file in self._files)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids and file contents."""
        return fingerprint_files(self._files)

    def game(self, name: str) -> Game:
        """The game with this id, or the game of this file or folder with one game.

        Raises:
            GamesNotFoundError: there is no such game, or the folder holds several.
            GameFileError: the file cannot be played.
        """
        return load_file(self._find(name))

    def path(self, name: str) -> str:
        """The file of this game."""
        return self._find(name).path

    def _find(self, name: str) -> TaskFile:
        if name in self._file_of:
            return self._file_of[name]
        path = user_path(name)
        files = find_files(path) if path.exists() else ()
        if len(files) == 1:
            return self._not_another(files[0])
        what = f"holds {len(files)} games" if files else "is neither a task id of this environment nor a file"
        raise GamesNotFoundError(
            f"game {name!r} {what}; give one of env.unwrapped.task_ids, such as {self.task_ids[0]!r}, or the "
            f"path of one {SUFFIX} file"
        )

    def _not_another(self, file: TaskFile) -> TaskFile:
        """Refuse a game under the id of another one: records name the id alone."""
        known = self._file_of.get(file.task_id, file)
        if known.path == file.path:
            return known
        if known.digest != file.digest:
            raise GamesNotFoundError(
                f"{file.path}: task {file.task_id!r} is another game in this environment, that of "
                f"{known.path}; rename a folder of one of them"
            )
        return file


def require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise ValueError if the value of argument ``name`` is not allowed."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")


@lru_cache(maxsize=CACHED_GAMES)
def _generated(tier: str, split: str, index: int) -> Game:
    return generate_game(tier, split, index)


@lru_cache(maxsize=16)  # shared by the environments of a process: one list takes a megabyte
def _generated_ids(tier: str, split: str, types: frozenset[str] | None, num_games: int) -> tuple[str, ...]:
    # The task type follows from the index, so no game has to be generated to know its type.
    indices = (n for n in count() if types is None or task_type_at(tier, n) in types)
    return tuple(f"{GENERATED}/{tier}/{split}/{n}" for n in islice(indices, num_games))
