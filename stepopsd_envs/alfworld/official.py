"""Official ALFWorld games on disk: which files a name, folder or list means, and their canonical ids.

A folder stands for the games that ALFWorld itself plays from it: those marked unsolvable and the tasks with
movable receptacles or sliced objects are left out, as ALFWorld does. A file given by name is always played.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from stepopsd_envs.alfworld.game import TASK_TYPES, Game, load_game
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, canonical

PathLike = str | os.PathLike[str]
SPLITS = ("train", "valid_train", "valid_seen", "valid_unseen")
RELEASE = "json_2.1.1"  # the folder that alfworld-download makes below its data folder
GAME_FILE = "game.tw-pddl"
SUFFIX = ".tw-pddl"
EXCLUDED = ("movable", "Sliced")
CACHED_GAMES = 256  # of all environments of a process together
TAIL = 4096  # the mark of unsolvable games stands in the last few hundred bytes
HINT = 'run alfworld-download and set ALFWORLD_DATA or data_root, or play games="generated"'


def find_files(
    games: PathLike | Sequence[PathLike], data_root: PathLike | None = None
) -> tuple[TaskFile, ...]:
    """The games of an official split, a folder, a file, or a list of files and folders; never none."""
    items = [games] if isinstance(games, str | os.PathLike) else list(games)
    if not items:
        raise GamesNotFoundError(f"games is an empty list: name files or folders, or {HINT}")
    return canonical(file for item in items for file in _files_of(_locate(item, data_root)))


def task_type_of(file: TaskFile) -> str:
    """The task type: the first part of the task folder's name, else what the file says."""
    folders = file.task_id.split("/")
    name = folders[-2].partition("-")[0] if len(folders) > 1 else ""
    return name if name in TASK_TYPES else load_file(file).task_type


def load_file(file: TaskFile) -> Game:
    """Load a game; recently used ones are kept as long as the file does not change."""
    try:
        stat = os.stat(file.path)
    except FileNotFoundError as problem:
        raise GamesNotFoundError(
            f"{file.path} was there when the games were listed and is gone: make a new environment"
        ) from problem
    return _load(file.path, file.task_id, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=CACHED_GAMES)
def _load(path: str, task_id: str, size: int, mtime: int) -> Game:
    return load_game(path, task_id)


def _locate(item: PathLike, data_root: PathLike | None) -> Path:
    """The file or folder that exists and is meant."""
    if item in SPLITS:
        root = Path(data_root or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
        searched = [root / item, root / RELEASE / item]
    else:
        searched = [Path(item).expanduser()]
    for path in searched:
        if path.exists():
            return path
    raise GamesNotFoundError(
        f"games={os.fspath(item)!r} not found; searched {' and '.join(map(str, searched))}. Give a file, a "
        f"folder or one of the official splits {', '.join(SPLITS)}; to get those, {HINT}"
    )


def _files_of(path: Path) -> list[TaskFile]:
    if path.is_file():
        return [TaskFile(_task_id(str(path.absolute())), os.path.abspath(path))]
    found = list(_walk(os.path.abspath(path)))
    playable = [file for file in found if not _excluded(file)]
    if not playable:
        what = f"only games that ALFWorld leaves out ({len(found)})" if found else f"no *{SUFFIX} file"
        raise GamesNotFoundError(f"the folder {path} has {what}: give another folder, or {HINT}")
    return playable


def _walk(folder: str) -> Iterator[TaskFile]:
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith(SUFFIX):
                path = os.path.join(root, name)
                yield TaskFile(_task_id(path), path)


def _task_id(path: str) -> str:
    """The last three folders, or two and the file's own name if it is not the usual one."""
    parts = path.split(os.sep)
    if parts[-1] == GAME_FILE and len(parts) > 2:
        return "/".join(part for part in parts[-4:-1] if part)
    return "/".join(part for part in (*parts[-3:-1], parts[-1].removesuffix(SUFFIX)) if part)


def _excluded(file: TaskFile) -> bool:
    if any(word in file.task_id for word in EXCLUDED):
        return True
    with open(file.path, "rb") as stream:
        stream.seek(-min(TAIL, os.fstat(stream.fileno()).st_size), os.SEEK_END)
        return b'"solvable": false' in stream.read()
