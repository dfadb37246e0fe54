"""Archives are unpacked by every Python 3.11, and nothing lies outside afterwards."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from benchmarks.archives import unpack


def archive(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive with a file in a folder, and another member with this name."""
    with tarfile.open(path, "w:gz") as out:
        good, other = tarfile.TarInfo("a/good.txt"), tarfile.TarInfo(name)
        good.size, other.type, other.linkname = 4, kind, "/etc"
        out.addfile(good, BytesIO(b"text"))
        out.addfile(other, BytesIO())
    return path


@pytest.mark.parametrize("early", [False, True])
def test_files_are_unpacked_and_what_lies_outside_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    """The first patches of Python 3.11, one of which Debian 12 has, know no filters of members."""
    if early:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    unpack(archive(tmp_path / "good.tgz", "b.txt"), tmp_path / "out")
    assert (tmp_path / "out" / "a" / "good.txt").read_text() == "text"
    for name, kind in (("../evil.txt", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)):
        with pytest.raises(tarfile.TarError):
            unpack(archive(tmp_path / "bad.tgz", name, kind), tmp_path / "in" / "folder")
    assert not (tmp_path / "in" / "evil.txt").exists()
