"""A cache of small JSON files below ``$STEPOPSD_CACHE``, ``$XDG_CACHE_HOME`` or ``~/.cache``.

The cache only saves work. Its folder can be deleted at any time; if it cannot be read or written, the work is
done again.
"""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.user_path import user_path


def cache_folder() -> Path | None:
    """The cache folder: ``$STEPOPSD_CACHE``, else ``stepopsd`` in the user's cache folder.

    None if the user has no home folder.
    """
    given = os.environ.get("STEPOPSD_CACHE")
    if given:
        return user_path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG standard says to ignore relative paths
        base = os.path.expanduser("~/.cache")
    return Path(base) / "stepopsd" if os.path.isabs(base) else None


def read_cached(name: str) -> Any:
    """The value written under this name; None if the file is missing, incomplete or not JSON."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        return json.loads(plain_file(folder / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write_cached(name: str, value: Any) -> None:
    """Write a value atomically: a reader finds the old value or the new one. A failed write is ignored."""
    folder = cache_folder()
    if folder is None:
        return
    path = folder / name
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                json.dump(value, file, separators=(",", ":"))
            os.replace(unfinished, path)
        except OSError:
            os.unlink(unfinished)
            raise
