"""The distributions that a user installs, used away from the checkout: package data, commands, examples."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.archives import unpack

ROOT = Path(__file__).parents[2]
SOURCES = ("stepopsd_envs", "stepopsd_agent", "wrappers")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str, cwd: Path, **env: str) -> str:
    """Run a command, show what it printed if it failed, and return its standard output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from a copy of the sources, and the wheel from the sdist, with the tools here."""
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "copy"
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    build = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    run(sys.executable, "-c", build, "build_sdist", str(folder), cwd=copy)
    (sdist,) = folder.glob("stepopsd-*.tar.gz")
    unpack(sdist, folder)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", build, "build_wheel", str(folder), cwd=unpacked)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """Unpack the wheel as pip does: this package is pure Python, its files lie as they are imported."""
    (wheel,) = built.glob("stepopsd-*.whl")
    target = built / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_wheel_holds_every_module_and_data_file(installed: Path) -> None:
    """Each file of the three packages is in the wheel: modules, stubs, recipes, the viewer's page."""
    missing = []
    for name in ("stepopsd_envs", "stepopsd_agent", "wrappers/stepopsd_wrappers"):
        for path in (ROOT / name).rglob("*"):
            place = installed / Path(name).name / path.relative_to(ROOT / name)
            if path.is_file() and "__pycache__" not in path.parts and not place.is_file():
                missing.append(str(path.relative_to(ROOT)))
    assert not missing


def test_wheel_brings_no_other_top_level_name(installed: Path) -> None:
    """Tests, benchmarks and docs stay in the checkout: nothing takes a name that others may use."""
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"stepopsd_envs", "stepopsd_agent", "stepopsd_wrappers"}


COMMANDS = """
import contextlib, io, runpy, sys
from pathlib import Path
import stepopsd_agent
from stepopsd_agent.cli.main import main

def output(*arguments):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(list(arguments))
    assert code == 0, (arguments, code)
    return printed.getvalue()

assert stepopsd_agent.__file__.startswith(sys.argv[1]), stepopsd_agent.__file__
runpy.run_path(sys.argv[2])
assert "3 episodes" in output("replay", "runs/gym_loop")
output("view", "runs/gym_loop", "--out", "page.html")
assert "<script" in Path("page.html").read_text(encoding="utf-8")
assert "warmstart:" in output("config", "show", "alfworld_quickstart")
"""


def test_installed_package_plays_records_views_and_configures(installed: Path, tmp_path: Path) -> None:
    """Away from the checkout the plain loop, replay, the viewer and recipes by name work."""
    example = str(ROOT / "examples" / "gym_loop.py")
    run(sys.executable, "-c", COMMANDS, str(installed), example, cwd=tmp_path, PYTHONPATH=str(installed))
