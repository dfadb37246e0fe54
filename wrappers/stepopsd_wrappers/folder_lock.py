"""One writer to a folder of episodes, among the processes of the machine and within each."""

import errno
import os
import sys
import threading
from io import FileIO
from pathlib import Path
from weakref import WeakValueDictionary

from stepopsd_envs.plain_file import plain_file

if sys.platform != "win32":
    import fcntl

_HELD: "WeakValueDictionary[tuple[int, int, int], FileIO]" = WeakValueDictionary()
"""Lock files that writers of this process have open, by process, device and inode of the folder."""
_HOLDING = threading.Lock()
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of a file system that has no locks."""


class RecordingError(RuntimeError):
    """An episode could not be written; earlier ones are kept. The message names the file and the remedy."""


def locked(path: Path) -> FileIO:
    """Return the open lock file; this process, but no child of it, holds the lock until it ends.

    The system's lock keeps other processes out, but not this one, which would even lose it by closing the
    file a second time. So other writers of this process are looked for before the file is opened. Where the
    file system has no locks, as some that are shared over a network, these alone are kept out.

    Raises:
        RecordingError: another writer, of this process or another, has the folder.
        OSError: the file cannot be opened.
    """
    folder = path.parent.stat()
    with _HOLDING:
        key = (os.getpid(), folder.st_dev, folder.st_ino)
        held = _HELD.get(key)
        if held is not None and not held.closed:
            raise RecordingError(
                f"{path.parent} is being written by another recorder of this process; close that one first, "
                "give each its own folder, or open one EpisodeWriter(folder) and give it to all of them: "
                "RecordEpisode(env, writer=writer)"
            )
        file = open(plain_file(path, missing_ok=True), "ab", buffering=0)
        if sys.platform != "win32":
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                file.close()
                raise RecordingError(
                    f"{path.parent} is being written by another process; wait until it has ended, or record "
                    "into another folder"
                ) from error
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    file.close()
                    raise
        _HELD[key] = file
    return file


def require_same_folder(folder: Path, place: os.stat_result) -> None:
    """Refuse to list shards in another folder than they are in: that would make its own ones unreadable.

    Args:
        folder: the path that the writer was opened with.
        place: what was there then.

    Raises:
        RecordingError: something else is there now.
        OSError: nothing is.
    """
    if not os.path.samestat(folder.stat(), place):
        raise RecordingError(
            f"{folder} is another folder than the one that this writer has open, which was moved: its "
            "episodes are whole, and a writer of the folder where it is now goes on there"
        )
