"""Find official ALFWorld games on disk: the files of a split, folder or list, and their canonical ids.

A folder stands for the games that ALFWorld itself plays from it: games marked unsolvable and tasks with
movable receptacles or sliced objects are left out, as in ALFWorld. A file given by name is always played. A
folder is read once and indexed (``file_index.py``): ids, hashes and task types then need no parsing, and it
is known which files are no games that can be played.
"""

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from stepopsd_envs.alfworld.game import TASK_TYPES, Game, GameFileError, load_game
from stepopsd_envs.alfworld.release import is_published
from stepopsd_envs.argument_types import require_path
from stepopsd_envs.file_index import Advance, FileIndex, Reader, digest_of, index_files, index_folder
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, canonical
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.user_path import user_path

PathLike = str | os.PathLike[str]
SPLITS = ("train", "valid_train", "valid_seen", "valid_unseen")
RELEASE = "json_2.1.1"  # folder that alfworld-download makes below its data folder
GAME_FILE = "game.tw-pddl"
SUFFIX = ".tw-pddl"
EXCLUDED = ("movable", "Sliced")
CACHED_GAMES = 4_096  # for all environments of a process together; about 50 kB each
TAIL = 4096  # bytes; the mark of an unsolvable game is in the last few hundred bytes of its file
UNSOLVABLE = "unsolvable"  # note in place of the task type
DAMAGED = "damaged "  # before the task type, of a file that is no game, or none that can be played
HINT = 'get them with "stepopsd data alfworld --download", or play games="generated"'


def find_files(
    games: PathLike | Sequence[PathLike], data_root: PathLike | None = None, advance: Advance | None = None
) -> tuple[TaskFile, ...]:
    """The games of an official split, a folder, a file, or a list of files and folders; at least one.

    Args:
        games: as in the environment's argument of that name.
        data_root: folder of the official splits; see ``locate``.
        advance: called for every file, to show progress.

    Raises:
        GamesNotFoundError: a path does not exist, or a folder has no game that ALFWorld plays.
        ValueError: two files have the same task id, or `games` is nothing of these.
    """
    items: list[Any] = [games]
    if isinstance(games, Iterable) and not isinstance(games, str | bytes | os.PathLike):
        items = list(games)
    for item in items:
        require_path("games", item, f"'generated', a file, a folder, one of {', '.join(SPLITS)}, or a list")
    if not items:
        raise GamesNotFoundError(f"games is an empty list: name files or folders, or {HINT}")
    places = [locate(item, data_root) for item in items]
    named = [os.path.abspath(place) for place in places if not place.is_dir()]
    files = list(_task_files(index_files(named, READER, advance))) if named else []
    for folder in (place for place in places if place.is_dir()):
        files += _playable(folder, advance)
    return canonical(files)


def task_type_of(file: TaskFile) -> str:
    """The task type: from the note in the index, else read from the file."""
    known = file.note.removeprefix(DAMAGED)
    return known if known in TASK_TYPES else load_file(file).task_type


def require_playable(files: Sequence[TaskFile]) -> None:
    """Raise GameFileError for the first file that is no game, or none that can be played; it counts all."""
    damaged = [file for file in files if file.note.startswith(DAMAGED)]
    if not damaged:
        return
    try:
        load_file(damaged[0])
    except GameFileError as error:
        advice = f"{error.advice}. {len(damaged):,} of the {len(files):,} games cannot be played"
        raise GameFileError(error.path, error.field, error.problem, advice) from error


def load_file(file: TaskFile) -> Game:
    """Load a game; recently used games are cached until their file changes.

    Raises:
        GameFileError: the file is not a game, or a link to none, or has changed since it was listed.
        GamesNotFoundError: the file no longer exists.
    """
    try:
        stat = os.stat(file.path)
    except FileNotFoundError as problem:
        if os.path.islink(file.path):
            where = f"is a link to {os.readlink(file.path)}, which is not there"
            raise GameFileError(file.path, "", where, "put the game there, or remove the link") from problem
        raise GamesNotFoundError(
            f"{file.path} was listed but no longer exists: make a new environment"
        ) from problem
    return _load(file.path, file.task_id, file.digest, stat.st_size, stat.st_mtime_ns)


def locate(item: PathLike, data_root: PathLike | None = None) -> Path:
    """The existing file or folder for a path or the name of an official split.

    A split is searched in the data folder (``data_root``, else ``$ALFWORLD_DATA``, else
    ``~/.cache/alfworld``) and in its subfolder ``json_2.1.1``.

    Raises:
        GamesNotFoundError: there is no such file or folder, or the path is empty.
    """
    try:
        if item in SPLITS:
            root = data_folder(data_root)
            searched = [root / item, root / RELEASE / item]
        else:
            searched = [user_path(item)]
    except FileNotFoundError as error:  # of what is no path
        given = f"data_root={data_root!r}" if item in SPLITS else f"games={os.fspath(item)!r}"
        raise GamesNotFoundError(f"{given}: {error}") from error
    for path in searched:
        if path.exists():
            return path
    hint = "" if item in SPLITS else did_you_mean(item, (*SPLITS, "generated"))
    raise GamesNotFoundError(
        f"games={os.fspath(item)!r} not found; {hint}searched {' and '.join(map(str, searched))}. Give a "
        f"file, a folder or one of the official splits {', '.join(SPLITS)}; for a split, set ALFWORLD_DATA "
        f"or data_root to its folder, or {HINT}"
    )


def data_folder(data_root: PathLike | None = None) -> Path:
    """The data folder of the official splits: ``data_root``, ``$ALFWORLD_DATA`` or ``~/.cache/alfworld``.

    Raises:
        FileNotFoundError: it is empty, or of a user who does not exist.
    """
    return user_path(
        (os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld") if data_root is None else data_root
    )


def list_folder(folder: PathLike, advance: Advance | None = None) -> tuple[TaskFile, ...]:
    """All game files below a folder, including those that ALFWorld leaves out."""
    return _task_files(index_folder(os.path.abspath(folder), SUFFIX, READER, advance))


def _playable(folder: Path, advance: Advance | None) -> list[TaskFile]:
    """The games of a folder without those that ALFWorld leaves out."""
    files = list_folder(folder, advance)
    playable = [file for file in files if not is_left_out(file)]
    if not playable:
        none = f"no *{SUFFIX} file (links to folders are not followed)"
        what = f"only games that ALFWorld leaves out ({len(files)})" if files else none
        raise GamesNotFoundError(f"the folder {folder} has {what}: give another folder; {HINT}")
    return playable


def is_left_out(file: TaskFile) -> bool:
    """Whether ALFWorld leaves this game out."""
    return file.note == UNSOLVABLE or any(word in file.task_id for word in EXCLUDED)


@lru_cache(maxsize=16)
def _task_files(index: FileIndex) -> tuple[TaskFile, ...]:
    return tuple(TaskFile(_task_id(file.path), file.path, file.digest, file.note) for file in index.files)


def _task_id(path: str) -> str:
    """The last three folders; or the last two and the file name, if it is not ``game.tw-pddl``."""
    parts = path.split(os.sep)
    if parts[-1] == GAME_FILE and len(parts) > 2:
        return "/".join(part for part in parts[-4:-1] if part)
    return "/".join(part for part in (*parts[-3:-1], parts[-1].removesuffix(SUFFIX)) if part)


def _note(path: str, content: bytes) -> str:
    """The task type from the name of the task folder, else from the file; or why it is not to be played.

    A file is tried unless its bytes are those of a published game.
    """
    if b'"solvable": false' in content[-TAIL:]:
        return UNSOLVABLE
    task_id = _task_id(path)
    folders = task_id.split("/")
    name = folders[-2].partition("-")[0] if len(folders) > 1 else ""
    if name in TASK_TYPES and is_published(TaskFile(task_id, path, digest_of(content))):
        return name
    try:
        game = load_game(path)
    except GameFileError:
        return DAMAGED + (name if name in TASK_TYPES else "")
    return name if name in TASK_TYPES else game.task_type


READER = Reader("alfworld/2", _note)


@lru_cache(maxsize=CACHED_GAMES)
def _load(path: str, task_id: str, digest: str, size: int, mtime: int) -> Game:
    if digest and os.path.isfile(path) and digest_of(Path(path).read_bytes()) != digest:
        raise GameFileError(
            path, "", "was changed after the games were listed", "make a new environment to list it again"
        )
    return load_game(path, task_id)
