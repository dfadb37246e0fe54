"""Paths as users write them."""

import os
import shlex
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path; a leading `~` is the home folder, and `~name` that of another user.

    Raises:
        FileNotFoundError: there is no such user, so the path would be a folder of that name here; or it is
            empty, as a variable of a shell that is not set, and would be the present folder.
    """
    found = os.path.expanduser(path)
    if not os.fspath(found):
        raise FileNotFoundError(f"the path is empty; give one, or {os.curdir} for the present folder")
    if (first := os.fspath(found).partition(os.sep)[0]).startswith("~"):
        raise FileNotFoundError(
            f"{path}: there is no user {first[1:]!r}; give another path, or write .{os.sep}{path}"
        )
    return Path(found)


def typed(path: str | os.PathLike[str]) -> str:
    """The path for advice that can be copied to a command line: quoted where a shell would split it."""
    return shlex.quote(os.fspath(path))
