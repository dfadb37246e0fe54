"""Archives of test data and games, unpacked with the first patches of Python 3.11, too."""

import tarfile
from pathlib import Path


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar archive, plain or compressed, into a folder.

    Python knows since 3.11.4 which members do harm; before that, only files and folders that lie inside are
    taken, and no link.

    Raises:
        TarError: it is no such archive, or has a member that would lie outside; then nothing is unpacked
            before 3.11.4, and later what comes before that member.
    """
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
            return
        root = folder.resolve()
        for member in archive.getmembers():
            inside = (root / member.name).resolve().is_relative_to(root)
            if not inside or not (member.isfile() or member.isdir()):
                raise tarfile.ExtractError(f"{member.name!r} is no file or folder inside of the archive")
        archive.extractall(folder)
