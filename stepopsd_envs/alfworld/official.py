"""Official ALFWorld games on disk: which files a name, folder or list means, and their canonical ids.

A folder stands for the games that ALFWorld itself plays from it: those marked unsolvable and the tasks with
movable receptacles or sliced objects are left out, as ALFWorld does. A file given by name is always played.
What is in a folder is read once and kept, see ``file_index.py``: ids, hashes and task types need no parsing.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from stepopsd_envs.alfworld.game import TASK_TYPES, Game, GameFileError, load_game
from stepopsd_envs.file_index import Advance, FileIndex, Reader, digest_of, index_files, index_folder
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, canonical

PathLike = str | os.PathLike[str]
SPLITS = ("train", "valid_train", "valid_seen", "valid_unseen")
RELEASE = "json_2.1.1"  # the folder that alfworld-download makes below its data folder
GAME_FILE = "game.tw-pddl"
SUFFIX = ".tw-pddl"
EXCLUDED = ("movable", "Sliced")
CACHED_GAMES = 4_096  # of all environments of a process together; about 50 kB each
TAIL = 4096  # the mark of unsolvable games stands in the last few hundred bytes
UNSOLVABLE = "unsolvable"  # noted instead of the task type
HINT = 'get them with "stepopsd data alfworld --download", or play games="generated"'


def find_files(
    games: PathLike | Sequence[PathLike], data_root: PathLike | None = None, advance: Advance | None = None
) -> tuple[TaskFile, ...]:
    """The games of an official split, a folder, a file, or a list of files and folders; never none.

    Args:
        games: as in the environment's argument of that name.
        data_root: where the official splits are; see ``locate``.
        advance: called for every file found, to show progress.
    """
    items = [games] if isinstance(games, str | os.PathLike) else list(games)
    if not items:
        raise GamesNotFoundError(f"games is an empty list: name files or folders, or {HINT}")
    places = [locate(item, data_root) for item in items]
    named = [os.path.abspath(place) for place in places if place.is_file()]
    found = list(_task_files(index_files(named, READER, advance))) if named else []
    for folder in (place for place in places if not place.is_file()):
        found += _playable(folder, advance)
    return canonical(found)


def task_type_of(file: TaskFile) -> str:
    """The task type: as noted when the file was read, else what it says now."""
    return file.note if file.note in TASK_TYPES else load_file(file).task_type


def load_file(file: TaskFile) -> Game:
    """Load a game; recently used ones are kept as long as the file does not change.

    Raises:
        GameFileError: the file is no game, or another one than when it was listed.
        GamesNotFoundError: it is gone.
    """
    try:
        stat = os.stat(file.path)
    except FileNotFoundError as problem:
        raise GamesNotFoundError(
            f"{file.path} was there when the games were listed and is gone: make a new environment"
        ) from problem
    return _load(file.path, file.task_id, file.digest, stat.st_size, stat.st_mtime_ns)


def locate(item: PathLike, data_root: PathLike | None = None) -> Path:
    """The file or folder that exists and is meant; a split is looked for below the data folder.

    That is ``data_root``, else ``$ALFWORLD_DATA``, else ``~/.cache/alfworld``, or ``json_2.1.1`` therein.
    """
    if item in SPLITS:
        root = data_folder(data_root)
        searched = [root / item, root / RELEASE / item]
    else:
        searched = [Path(os.path.expanduser(item))]
    for path in searched:
        if path.exists():
            return path
    raise GamesNotFoundError(
        f"games={os.fspath(item)!r} not found; searched {' and '.join(map(str, searched))}. Give a file, a "
        f"folder or one of the official splits {', '.join(SPLITS)}; to get those, set ALFWORLD_DATA or "
        f"data_root to where they are, or {HINT}"
    )


def data_folder(data_root: PathLike | None = None) -> Path:
    """The folder that the official splits lie below."""
    return Path(os.path.expanduser(data_root or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld"))


def list_folder(folder: PathLike, advance: Advance | None = None) -> tuple[TaskFile, ...]:
    """All game files below a folder, those that ALFWorld leaves out included."""
    return _task_files(index_folder(os.path.abspath(folder), SUFFIX, READER, advance))


def _playable(folder: Path, advance: Advance | None) -> list[TaskFile]:
    """The games of a folder but those that ALFWorld leaves out."""
    found = list_folder(folder, advance)
    playable = [file for file in found if not is_left_out(file)]
    if not playable:
        what = f"only games that ALFWorld leaves out ({len(found)})" if found else f"no *{SUFFIX} file"
        raise GamesNotFoundError(f"the folder {folder} has {what}: give another folder; {HINT}")
    return playable


def is_left_out(file: TaskFile) -> bool:
    """Whether ALFWorld would not play this file."""
    return file.note == UNSOLVABLE or any(word in file.task_id for word in EXCLUDED)


@lru_cache(maxsize=16)
def _task_files(index: FileIndex) -> tuple[TaskFile, ...]:
    return tuple(TaskFile(_task_id(file.path), file.path, file.digest, file.note) for file in index.files)


def _task_id(path: str) -> str:
    """The last three folders, or two and the file's own name if it is not the usual one."""
    parts = path.split(os.sep)
    if parts[-1] == GAME_FILE and len(parts) > 2:
        return "/".join(part for part in parts[-4:-1] if part)
    return "/".join(part for part in (*parts[-3:-1], parts[-1].removesuffix(SUFFIX)) if part)


def _note(path: str, content: bytes) -> str:
    """The task type: the first part of the task folder's name, else what the file says; "" for no game."""
    if b'"solvable": false' in content[-TAIL:]:
        return UNSOLVABLE
    folders = _task_id(path).split("/")
    name = folders[-2].partition("-")[0] if len(folders) > 1 else ""
    try:
        return name if name in TASK_TYPES else load_game(path).task_type
    except GameFileError:
        return ""  # told when the game is asked for


READER = Reader("alfworld/1", _note)


@lru_cache(maxsize=CACHED_GAMES)
def _load(path: str, task_id: str, digest: str, size: int, mtime: int) -> Game:
    if digest and digest_of(Path(path).read_bytes()) != digest:
        raise GameFileError(
            path, "", "was changed after the games had been listed", "make a new environment to list it anew"
        )
    return load_game(path, task_id)
