"""The rooms of the learner: imports point down, private names stay private, each says what it is for."""

import importlib
from pathlib import Path

import pytest

from tests.helpers.rooms import (
    AGENT,
    FLOOR,
    arrows,
    imports,
    past_the_door,
    private_names,
    secondhand,
    strangers,
    upwards,
)


def test_rooms_are_the_folders() -> None:
    """A new room needs a floor."""
    folders = {path.name for path in AGENT.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(FLOOR)
    assert {path.name for path in AGENT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_rooms_import_downwards() -> None:
    """No arrow points to a higher floor."""
    assert not upwards()


def test_packages_import_downwards() -> None:
    """Wrappers and environments do without the learner, and nothing needs the benchmarks."""
    assert not strangers()


def test_rooms_of_one_floor_have_no_circle() -> None:
    """Neighbours may be used one way only."""
    level = {(one, other) for one, other in arrows() if FLOOR[one] == FLOOR[other]}
    while level:
        ends = {one for one, _ in level}
        kept = {(one, other) for one, other in level if other in ends}
        assert kept != level, f"a circle of imports among {sorted(ends)}"
        level = kept


def test_a_command_is_one_file() -> None:
    """A file of the command line that one command alone uses is a part of that command put elsewhere."""
    users = dict[str, set[str]]()
    for path in [AGENT / "__main__.py", *sorted((AGENT / "cli").rglob("*.py"))]:
        for module, name, _ in imports(path):
            parts = [*module.split("."), name]
            if parts[:2] == ["stepopsd_agent", "cli"] and (AGENT / "cli" / f"{parts[2]}.py").is_file():
                users.setdefault(parts[2], set()).add(path.relative_to(AGENT).as_posix())
    assert "common" in users
    alone = {name: min(of) for name, of in users.items() if len(of) == 1}
    assert not [f"{name}: {of}" for name, of in alone.items() if of.startswith("cli/commands/")]


def test_private_names_stay_in_their_file() -> None:
    """A name with an underscore is used by no other file."""
    assert not private_names()


def test_rooms_export_what_others_use() -> None:
    """Other rooms, benchmarks, examples and snippets import from the room, and need not know its files.

    The command line is an end: nobody builds on it but its own start.
    """
    assert not past_the_door()
    assert not secondhand()


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_rooms_say_what_they_are_for_and_export_what_is_there(room: str) -> None:
    """One sentence, and names that can be had."""
    module = importlib.import_module(f"stepopsd_agent.{room}")
    first = (module.__doc__ or "").partition("\n\n")[0]
    assert first.endswith(".") and len(first) > 40
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None, f"{room} exports {name}, which is not there"
    with pytest.raises(AttributeError):
        _ = module.no_such_name


@pytest.mark.parametrize(
    "line",
    [
        "from stepopsd_agent.run.trainer import Trainer",
        "from ..run.trainer import Trainer",
        "from .. import run",
        "import stepopsd_agent.run.trainer",
        'import_module("stepopsd_agent.run.trainer")',
        'ENTRY = "stepopsd_agent.run.trainer:Trainer"',
        'import_module("..run", __package__)',
        "import stepopsd_agent; stepopsd_agent.run.Trainer",
        "import stepopsd_agent as s; s.run",
    ],
)
def test_an_arrow_upwards_is_seen_however_it_is_drawn(line: str, tmp_path: Path) -> None:
    """Also inside a function."""
    room = tmp_path / "stepopsd_agent" / "batch"
    room.mkdir(parents=True)
    (tmp_path / "stepopsd_agent" / "run").mkdir()
    (room / "spans.py").write_text(f"def late():\n    {line}\n", encoding="utf-8")
    assert upwards(tmp_path) == {("batch", "run"): "stepopsd_agent/batch/spans.py:2"}


def test_a_package_below_that_imports_one_above_is_seen(tmp_path: Path) -> None:
    """A benchmark in the learner, the learner in an environment; a test or an example in either."""
    for folder, line in (
        ("stepopsd_agent/ops", "from benchmarks import output"),
        ("stepopsd_envs", "import stepopsd_agent.credit"),
        ("stepopsd_agent/batch", "from tests.helpers import rooms"),
        ("stepopsd_agent/run", "import own_agent"),
        ("examples", ""),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "planted.py").write_text(line, encoding="utf-8")
    (tmp_path / "examples" / "own_agent.py").write_text("", encoding="utf-8")
    assert len(strangers(tmp_path)) == 4


@pytest.mark.parametrize(
    "lines",
    [
        "from stepopsd_agent.ops.intervals import _z",
        "from stepopsd_agent.ops import intervals as iv\niv._z()",
    ],
)
def test_a_private_name_used_elsewhere_is_seen(lines: str, tmp_path: Path) -> None:
    """Imported, or as an attribute of its module."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "planted.py").write_text(lines, encoding="utf-8")
    assert len(private_names(tmp_path)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from stepopsd_agent.batch.spans import Span",
        "from stepopsd_agent.batch import spans",
        "from stepopsd_agent.batch import hidden",
        "import stepopsd_agent.batch.spans as s",
        "import stepopsd_agent.batch as b; b.spans.Span",
        "from stepopsd_agent import batch; batch.spans",
        "import stepopsd_agent; stepopsd_agent.batch.hidden",
    ],
)
def test_a_name_taken_past_the_door_of_another_room_is_seen(line: str, tmp_path: Path) -> None:
    """From its file, the file itself, or a name that it does not export; inside the room all is well."""
    room = tmp_path / "stepopsd_agent" / "batch"
    room.mkdir(parents=True)
    (room / "__init__.pyi").write_text("from .spans import Span as Span", encoding="utf-8")
    (room / "spans.py").write_text(f"class Span: ...\n{line}", encoding="utf-8")
    (tmp_path / "benchmarks" / "batch").mkdir(parents=True)
    (tmp_path / "benchmarks" / "batch" / "planted.py").write_text(line, encoding="utf-8")
    (tmp_path / "README.md").write_text(f"{line}\n```python\n{line}\n```\n", encoding="utf-8")
    found = past_the_door(tmp_path)
    assert sorted({text.partition(" ")[0] for text in found}) == [
        "README.md:3",
        "benchmarks/batch/planted.py:1",
    ]


@pytest.mark.parametrize("name", ["Path", "spans"])
def test_an_export_that_is_anothers_or_has_a_files_name_is_seen(name: str, tmp_path: Path) -> None:
    """A class of another package, or a function that the file of its name would hide."""
    room = tmp_path / "stepopsd_agent" / "batch"
    room.mkdir(parents=True)
    (room / "__init__.pyi").write_text(f"from .spans import {name} as {name}", encoding="utf-8")
    (room / "spans.py").write_text("from pathlib import Path\ndef spans(): ...", encoding="utf-8")
    assert len(secondhand(tmp_path)) == 1
