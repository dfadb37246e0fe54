"""Fixtures that more than one test file needs, and the rules for data and devices that may be absent."""

import getpass
import hashlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from benchmarks import archives

# One thread per process: the suite runs several, tiny models gain nothing from more, and sums keep one order.
# Commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would the commands that tests
# start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A first call, or a machine with other work, takes long without being wrong.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Leave the user's cache alone, in commands that tests start, too."""
    os.environ["STEPOPSD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Hold a torch that was imported before the variable was set to one thread, too."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device; torch is asked only if there are any."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of official games, transcripts and golden values; see CONTRIBUTING.md."""
    named = os.environ.get("STEPOPSD_TEST_DATA")
    if not named:
        pytest.skip("STEPOPSD_TEST_DATA is not set: no official games to test against")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"STEPOPSD_TEST_DATA={named} is no folder: no official games to test against")
    return folder


@pytest.fixture(scope="session")
def official_games(test_data: Path) -> Path:
    """Folder of unpacked official games: <split>/<task>/<trial>/game.tw-pddl, read only by agreement."""
    return unpack(test_data / "alfworld-games.tar.xz")


@pytest.fixture(scope="session")
def old_official_games(test_data: Path) -> Path:
    """Folder of unpacked games of older releases, in other wordings."""
    return unpack(test_data / "alfworld-games-old.tar.xz")


@pytest.fixture(scope="session")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model that wins one tiny game about every other time, read only by agreement."""
    from tests.helpers.runs import taught  # imports torch, which most tests do without

    folder = tmp_path_factory.mktemp("taught") / "model"
    taught().save(folder)
    return folder


def unpack(archive: Path) -> Path:
    """Unpack an archive once per content, for all test processes and later sessions."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"stepopsd-tests-{getpass.getuser()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    folder = cache / f"{archive.name.partition('.')[0]}-{digest}"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            archives.unpack(archive, unfinished)
            unfinished.rename(folder)  # last, so that a session killed while unpacking leaves no half folder
    return folder
