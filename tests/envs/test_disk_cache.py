"""Where the cache is, and that nothing depends on it."""

from pathlib import Path

import pytest

from stepopsd_envs.disk_cache import cache_folder, read_cached, write_cached


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, not made yet."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("own", "standard", "home", "expected"),
    [
        ("/own", "/standard", "/home/someone", "/own"),
        ("", "/standard", "/home/someone", "/standard/stepopsd"),
        ("", "", "/home/someone", "/home/someone/.cache/stepopsd"),
        ("", "relative", "/home/someone", "/home/someone/.cache/stepopsd"),
    ],
)
def test_cache_folder_is_own_standard_or_home(
    own: str, standard: str, home: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; an empty variable is as good as none, and the standard wants absolute paths."""
    for name, value in {"STEPOPSD_CACHE": own, "XDG_CACHE_HOME": standard, "HOME": home}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_cache_without_a_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id that no user has, as in containers: nothing is kept, nothing fails."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for name in ("STEPOPSD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() is None
    write_cached("a.json", 1)
    assert read_cached("a.json") is None


def test_read_cached_gives_what_was_written(cache: Path) -> None:
    """Lone surrogates, which file names may hold, too; no temporary file stays."""
    values: list[object] = [{"a": [1, "\udc80 é"]}, [], "again"]
    for value in values:
        write_cached("folder/a.json", value)
        assert read_cached("folder/a.json") == value
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["a.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00\xff", b"[" * 100_000], ids=["", "{", "bytes", "deep"])
def test_read_cached_takes_a_damaged_file_for_none(cache: Path, damage: bytes) -> None:
    """A process may have been killed on a system that then lost power."""
    cache.mkdir()
    (cache / "a.json").write_bytes(damage)
    assert read_cached("a.json") is None


def test_write_cached_without_room_only_forgets(cache: Path) -> None:
    """A folder that cannot be made; as root, permissions would stop nothing."""
    cache.write_text("a file, no folder")
    write_cached("a.json", 1)
    assert read_cached("a.json") is None
