"""The rooms of the learner: imports point down, private names stay private, each says what it is for."""

import ast
import importlib
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
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """Module, name and line of everything a file imports, also inside functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)


def room_of(module: str, name: str = "") -> str | None:
    """The room that an import comes from; None for another package, or the package itself."""
    package, *rest = [*module.split("."), name]
    return rest[0] if package == "stepopsd_agent" and rest and rest[0] in FLOOR else None


def arrows() -> dict[tuple[str, str], str]:
    """From room to room, with one place where it is drawn."""
    found = {}
    for path in sorted(AGENT.rglob("*.py")):
        own = path.relative_to(AGENT).parts[0]
        for module, name, line in imports(path) if own in FLOOR else ():
            other = room_of(module, name)
            if other is not None and other != own:
                found[own, other] = f"{path.relative_to(ROOT)}:{line}"
    return found


def test_rooms_are_the_folders() -> None:
    """A new room needs a floor."""
    folders = {path.name for path in AGENT.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(FLOOR)
    assert {path.name for path in AGENT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_rooms_import_downwards() -> None:
    """No arrow points to a higher floor."""
    upwards = {arrow: place for arrow, place in arrows().items() if FLOOR[arrow[0]] < FLOOR[arrow[1]]}
    assert not upwards


def test_rooms_of_one_floor_have_no_circle() -> None:
    """Neighbours may be used one way only."""
    level = {(one, other) for one, other in arrows() if FLOOR[one] == FLOOR[other]}
    while level:
        ends = {one for one, _ in level}
        kept = {(one, other) for one, other in level if other in ends}
        assert kept != level, f"a circle of imports among {sorted(ends)}"
        level = kept


def test_private_names_stay_in_their_file() -> None:
    """A name with an underscore is imported by nobody."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}.{name}"
        for folder in ("stepopsd_agent", "stepopsd_envs", "wrappers", "benchmarks", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for module, name, line in imports(path)
        if module.startswith(("stepopsd_", "benchmarks"))
        and any(part.startswith("_") and not part.startswith("__") for part in [*module.split("."), name])
    ]
    assert not wrong


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


def test_the_floors_forbid_what_they_should() -> None:
    """The test would see an arrow upwards, also one inside a function."""
    source = "def late():\n    from stepopsd_agent.run.trainer import Trainer\n"
    (node,) = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
    assert room_of(node.module or "") == "run" and FLOOR["batch"] < FLOOR["run"]
