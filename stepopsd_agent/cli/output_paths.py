"""The files and folders that commands write: made anew, or gone on with, and by one command at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.run.files import check_can_make
from stepopsd_envs.user_path import typed, user_path
from stepopsd_wrappers import RecordingError
from stepopsd_wrappers.folder_lock import locked

LOCK = ".command.lock"
"""File by which one command at a time writes to a folder; hidden, so the folder counts as empty."""

_LEFT = {"train": "config.yaml", "eval": "evaluation.json", "sweep": "sweep.json"}
"""The file by which a command that can go on knows a folder of its own."""


def fresh_folder(name: str | None, command: str) -> Path:
    """The folder to write to, not made yet; one with something in it is refused, so nothing is written over.

    Hidden files do not count: they are what a killed process was about to rename.
    """
    if name is None:
        raise UsageError(f"stepopsd {command} writes files: name a folder for them with --out FOLDER")
    out = _given(name, "--out")
    if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        left = (out / _LEFT[command]).is_file() if command in _LEFT else False
        what = f", or continue it with: stepopsd {command} --resume {typed(out)}" if left else ""
        raise UsageError(f"{out} is not empty; choose another folder for --out{what}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose another folder for --out")
    if not out.is_dir():
        check_can_make(out)
    return out


def fresh_file(name: str, flag: str) -> Path:
    """The file to write, not made yet; one that is there is refused, so nothing is written over."""
    out = _given(name, flag)
    if out.exists():
        raise UsageError(f"{out} is there already; name another file with {flag} OUT, or remove it")
    check_can_make(out)
    return out


def _given(name: str, flag: str) -> Path:
    try:
        return user_path(name)
    except FileNotFoundError as error:  # of what is no path
        raise UsageError(f"{flag} is {name!r}: {error}") from error


def resumed_file(folder: Path, name: str, command: str) -> Path:
    """The file that a command left in the folder it is to go on with; without it the folder is refused."""
    if (folder / name).is_file():
        return folder / name
    problem = f"{folder} has no {name}" if folder.is_dir() else f"there is no folder {folder}"
    problem = f"{folder} is a file" if folder.is_file() else problem
    raise UsageError(f"{problem}; --resume takes the --out of an earlier {command}")


@contextmanager
def only_writer(out: Path, command: str, *, fresh: bool) -> Iterator[None]:
    """Keep other commands from writing to the folder; the lock ends with this process, killed or not.

    Args:
        out: the folder; made if it is missing.
        command: which command this is.
        fresh: the folder was found empty, and is looked at once more.

    Raises:
        UsageError: another one has it, or has written to it since the folder was looked at first.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = locked(out / LOCK)
    except RecordingError as error:
        other = ", or choose another folder for --out" if fresh else ""
        raise UsageError(f"another command is writing to {out}; wait until it has ended{other}") from error
    with lock:
        if fresh:
            fresh_folder(str(out), command)
        yield
