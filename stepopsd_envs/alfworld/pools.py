"""Where games come from: the generator, or official files. A pool is a list of task ids that loads games."""

import re
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from stepopsd_envs.alfworld.game import TASK_TYPES, Game
from stepopsd_envs.alfworld.generator import GENERATOR_VERSION, SPLITS, TIERS, generate_game
from stepopsd_envs.alfworld.official import SUFFIX, find_files, load_file, task_type_of
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, fingerprint, fingerprint_files

GENERATED = "generated"
DEFAULT_NUM_GAMES = {"train": 10_000, "test": 1_000}
CACHED_GAMES = 256  # of all environments of a process together
_GENERATED_ID = re.compile(rf"{GENERATED}/([a-z]+)/([a-z]+)/(0|[1-9][0-9]*)")


class GamePool(Protocol):
    """The games an environment draws from, in canonical order."""

    @property
    def task_ids(self) -> tuple[str, ...]:
        """One id per game, in the order that everything counts in."""

    @property
    def fingerprint(self) -> str:
        """Hash of the ids and contents."""

    def game(self, name: str) -> Game:
        """The game of that id; a pool of files also takes a path. ``GamesNotFoundError`` if there is none."""


class GeneratedPool:
    """Games ``generated/<tier>/<split>/<n>``, each made when it is first asked for."""

    def __init__(
        self, tier: str, split: str, task_types: Collection[str] | None, num_games: int | None
    ) -> None:
        require_one_of("tier", tier, TIERS)
        require_one_of("split", split, SPLITS)
        self._tier, self._split, self._task_types = tier, split, task_types
        self._num_games = num_games or DEFAULT_NUM_GAMES[split]

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The first ``num_games`` ids that are of one of the task types."""
        prefix, types = f"{GENERATED}/{self._tier}/{self._split}", self._task_types
        # The generator's task types take turns, so none of the games has to be made to know its type.
        wanted = (n for n in count() if types is None or TASK_TYPES[n % len(TASK_TYPES)] in types)
        return tuple(f"{prefix}/{n}" for n in islice(wanted, self._num_games))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides what is generated."""
        types = ",".join(sorted(self._task_types or TASK_TYPES))
        settings = {
            "generator": str(GENERATOR_VERSION),
            "tier": self._tier,
            "split": self._split,
            "num_games": str(self._num_games),
            "task_types": types,
        }
        return fingerprint(settings.items())

    def game(self, name: str) -> Game:
        """The game of that id, of whatever tier, split and number."""
        found = _GENERATED_ID.fullmatch(name)
        if not found or found[1] not in TIERS or found[2] not in SPLITS:
            raise GamesNotFoundError(
                f"no generated game {name!r}: give {GENERATED}/<tier>/<split>/<number> with tier one of "
                f"{sorted(TIERS)} and split one of {sorted(SPLITS)}"
            )
        return _generated(found[1], found[2], int(found[3]))


class FilePool:
    """Official games on disk."""

    def __init__(
        self, files: Sequence[TaskFile], task_types: Collection[str] | None, num_games: int | None
    ) -> None:
        kept = tuple(file for file in files if task_types is None or task_type_of(file) in task_types)
        if not kept:
            raise GamesNotFoundError(f"none of the {len(files)} games is of type {sorted(task_types or ())}")
        if num_games is not None and num_games > len(kept):
            raise ValueError(
                f"num_games={num_games}, but there are only {len(kept)} games; give at most that"
            )
        self._files = kept[:num_games]
        self._path_of = {file.task_id: file.path for file in files}

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """Sorted ``<split>/<task>/<trial>``."""
        return tuple(file.task_id for file in self._files)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids and file contents."""
        return fingerprint_files(self._files)

    def game(self, name: str) -> Game:
        """The game of an id, or of a file or a folder with one game."""
        if name in self._path_of:
            return load_file(TaskFile(name, self._path_of[name]))
        path = Path(name)
        files = find_files(path) if path.exists() else ()
        if len(files) == 1:
            return load_file(files[0])
        what = f"holds {len(files)} games" if files else "is neither a task id of this environment nor a file"
        raise GamesNotFoundError(
            f"game {name!r} {what}; give one of env.unwrapped.task_ids, such as {self.task_ids[0]!r}, or the "
            f"path of one {SUFFIX} file"
        )


def require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise if an argument is not one of the values it may have."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")


@lru_cache(maxsize=CACHED_GAMES)
def _generated(tier: str, split: str, index: int) -> Game:
    return generate_game(tier, split, index)
