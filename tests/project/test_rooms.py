"""The rooms of the learner: imports point down, private names stay private, each says what it is for."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "stepopsd_agent"
FLOORS = (
    ("config", "ops"),
    ("tasks", "models", "batch"),
    ("rollout", "hindsight", "credit"),
    ("learner",),
    ("run",),
    ("cli",),
)
"""From the ground up. A room imports rooms of lower floors, and neighbours as long as there is no circle."""
TOPS = ("stepopsd_envs", "stepopsd_wrappers", "stepopsd_agent", "benchmarks")
"""The packages of the project, from the ground up."""
FOLDERS = ("stepopsd_agent", "stepopsd_envs", "wrappers", "benchmarks", "examples")
ENTRY = re.compile(r"stepopsd_agent(\.\w+)+(:\w+)?")
"""A text that names a module, or something in one."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[str, str, int]]:
    """Module, name and line of everything a file imports.

    Also inside functions, for type checkers, relatively, and by a text such as "package.module:Name", which
    is imported later.
    """
    package = list(path.relative_to(root).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ENTRY.fullmatch(node.value):
            module, _, name = node.value.partition(":")
            yield module, name, node.lineno


def room_of(module: str, name: str = "") -> str | None:
    """The room that an import comes from; None for another package, or the package itself."""
    package, *rest = [*module.split("."), name]
    return rest[0] if package == "stepopsd_agent" and rest and rest[0] in FLOOR else None


def arrows(root: Path = ROOT) -> dict[tuple[str, str], str]:
    """From room to room, with one place where it is drawn."""
    found = {}
    for path in sorted((root / "stepopsd_agent").rglob("*.py")):
        own = path.relative_to(root).parts[1]
        for module, name, line in imports(path, root) if own in FLOOR else ():
            other = room_of(module, name)
            if other is not None and other != own:
                found[own, other] = f"{path.relative_to(root)}:{line}"
    return found


def upwards(root: Path = ROOT) -> dict[tuple[str, str], str]:
    """The arrows that point to a higher floor."""
    return {arrow: place for arrow, place in arrows(root).items() if FLOOR[arrow[0]] < FLOOR[arrow[1]]}


def sources(root: Path) -> list[Path]:
    """The project's own Python files, without the tests."""
    return [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]


def strangers(root: Path = ROOT) -> list[str]:
    """Places where a package of the project imports one that stands above it."""
    found = []
    for path in sources(root):
        own = [TOPS.index(part) for part in path.relative_to(root).parts if part in TOPS]
        found += [
            f"{path.relative_to(root)}:{line} imports {module}"
            for module, _, line in imports(path, root)
            if own and module.partition(".")[0] in TOPS[own[-1] + 1 :]
        ]
    return found


def private_names(root: Path = ROOT) -> list[str]:
    """Places where a file uses another file's name with an underscore, imported or as an attribute."""
    wrong = []
    for path in sources(root):
        place = path.relative_to(root)
        wrong += [
            f"{place}:{line} imports {module}.{name}"
            for module, name, line in imports(path, root)
            if module.startswith(("stepopsd_", "benchmarks"))
            and any(_is_private(part) for part in [*module.split("."), name])
        ]
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = {
            alias.asname or alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        wrong += [
            f"{place}:{node.lineno} uses {ast.unparse(node)}"
            for node in nodes
            if isinstance(node, ast.Attribute) and _is_private(node.attr)
            if ast.unparse(node).partition(".")[0] in imported
        ]
    return wrong


def past_the_door(root: Path = ROOT) -> list[str]:
    """Places that import a name from a file of another room; the room itself exports what others use."""
    return [
        f"{path.relative_to(root)}:{line} imports {name} from {module}"
        for path in sources(root)
        for module, name, line in _from_imports(path)
        if module.startswith("stepopsd_agent.")
        and module.split(".")[1] != path.relative_to(root).parts[1]
        and (root / (module.replace(".", "/") + ".py")).is_file()
        and module.split(".")[1] in FLOOR
    ]


def _from_imports(path: Path) -> Iterator[tuple[str, str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name, node.lineno) for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


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


def test_private_names_stay_in_their_file() -> None:
    """A name with an underscore is used by no other file."""
    assert not private_names()


def test_rooms_export_what_others_use() -> None:
    """Other rooms, benchmarks and examples import from the room, and need not know its files.

    The command line is an end: nobody builds on it but its own start.
    """
    assert not [place for place in past_the_door() if "stepopsd_agent.cli." not in place]


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_rooms_say_what_they_are_for_and_export_what_is_there(room: str) -> None:
    """One sentence, and names that can be had: a file of the same name would hide one once imported."""
    module = importlib.import_module(f"stepopsd_agent.{room}")
    first = (module.__doc__ or "").partition("\n\n")[0]
    assert first.endswith(".") and len(first) > 40
    files = {path.stem for path in (AGENT / room).iterdir()}
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None, f"{room} exports {name}, which is not there"
        assert name not in files
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
    ],
)
def test_an_arrow_upwards_is_seen_however_it_is_drawn(line: str, tmp_path: Path) -> None:
    """Also inside a function."""
    room = tmp_path / "stepopsd_agent" / "batch"
    room.mkdir(parents=True)
    (room / "spans.py").write_text(f"def late():\n    {line}\n", encoding="utf-8")
    assert upwards(tmp_path) == {("batch", "run"): "stepopsd_agent/batch/spans.py:2"}


def test_a_package_below_that_imports_one_above_is_seen(tmp_path: Path) -> None:
    """A benchmark in the learner, the learner in an environment."""
    for folder, line in (
        ("stepopsd_agent/ops", "from benchmarks import output"),
        ("stepopsd_envs", "import stepopsd_agent.credit"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "planted.py").write_text(line, encoding="utf-8")
    assert len(strangers(tmp_path)) == 2


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


def test_a_name_taken_from_a_file_of_another_room_is_seen(tmp_path: Path) -> None:
    """It should be imported from the room."""
    for file in ("stepopsd_agent/batch/spans.py", "benchmarks/planted.py"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("from stepopsd_agent.batch.spans import Span", encoding="utf-8")
    assert past_the_door(tmp_path) == ["benchmarks/planted.py:1 imports Span from stepopsd_agent.batch.spans"]
