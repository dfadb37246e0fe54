"""Reading only what is a file: a named pipe in a user's folder would be waited for without end."""

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def plain_file(path: str | os.PathLike[str], missing_ok: bool = False) -> Path:
    """The path, if it is a file or a link to one; call it right before a file is opened.

    Args:
        path: where a file is expected.
        missing_ok: there may be nothing, because the file is made if it is not there.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: a folder, named pipe, socket or device stands there; readers turn it into their own error.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if missing_ok:
            return Path(path)
        raise
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no plain file")
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"it is {kind}; put a file there, or move it away", os.fspath(path))
    return Path(path)
