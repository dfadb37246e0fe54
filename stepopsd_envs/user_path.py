"""Paths as users write them."""

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path; a leading `~` is the home folder, and stays as it is where there is no such user."""
    return Path(os.path.expanduser(path))
