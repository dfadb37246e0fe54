"""Small JSON files that only save work: below ``$STEPOPSD_CACHE``, ``$XDG_CACHE_HOME`` or ``~/.cache``.

The folder can be deleted at any time. One that cannot be read or written costs the work it would have saved.
"""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def cache_folder() -> Path | None:
    """``$STEPOPSD_CACHE``, else ``stepopsd`` in the user's cache folder; None for a user without a home."""
    given = os.environ.get("STEPOPSD_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the standard asks to ignore relative ones
        base = os.path.expanduser("~/.cache")
    return Path(base) / "stepopsd" if os.path.isabs(base) else None


def read_cached(name: str) -> Any:
    """What was written under this name; None for a file that is missing, torn or no JSON."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        return json.loads((folder / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write_cached(name: str, value: Any) -> None:
    """Replace the file in one go: a reader finds the old value or the new one."""
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
