"""What the rooms of the learner import, export and keep private, read from their sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.snippets import python_of

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "stepopsd_agent"
FLOORS = (
    ("config", "ops"),
    ("tasks", "models", "batch"),
    ("rollout", "hindsight", "credit"),
    ("learner", "accuracy"),
    ("run", "adapters"),
    ("viewer",),
    ("cli",),
)
"""From the ground up. A room imports rooms of lower floors, and neighbours as long as there is no circle."""
TOPS = ("stepopsd_envs", "stepopsd_wrappers", "stepopsd_agent", "benchmarks")
"""The packages of the project, from the ground up."""
PUBLIC = frozenset({"os._exit"})
"""Names with an underscore that Python documents for everybody."""
FOLDERS = ("stepopsd_agent", "stepopsd_envs", "wrappers", "benchmarks", "examples")
ENTRY = re.compile(r"stepopsd_agent(\.\w+)+(:[\w.]+)?")
"""A text that names a module, or something in one."""
RELATIVE = re.compile(r"\.{1,3}[a-z_]\w*(\.\w+)*")
"""A text that names a module relatively, for ``import_module``."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path, root: Path = ROOT, *, texts: bool = True) -> Iterator[tuple[str, str, int]]:
    """Module, name and line of everything a file imports, or a page of the documentation in its snippets.

    Also inside functions, for type checkers, relatively, as an attribute of an imported package, and by a
    text such as "package.module:Name", which is imported later, unless `texts` is off.
    """
    package = list(path.relative_to(root).parts[:-1])
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(python_of(text) if path.suffix == ".md" else text)
    yield from attributes(tree, root)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif (
            texts
            and isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and ENTRY.fullmatch(node.value)
        ):
            module, _, name = node.value.partition(":")
            yield module, name, node.lineno
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and RELATIVE.fullmatch(node.value)
        ):
            dots = len(node.value) - len(node.value.lstrip("."))
            above = package[: len(package) - dots + 1]
            yield ".".join([*above, node.value.lstrip(".")]), "", node.lineno


def attributes(tree: ast.Module, root: Path) -> Iterator[tuple[str, str, int]]:
    """What a file takes as an attribute of a package of the learner, as in ``ops.wilson``.

    A name that the file also gives to something else, such as an argument, is left out.
    """
    packages, others = dict[str, str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                packages[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.arg):
            others.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            others.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (whole := re.fullmatch(r"[\w.]+", ast.unparse(node))):
            first, *rest = whole[0].split(".")
            module = packages.get(first, "") if first not in others else ""
            rest = [name for name in rest if not name.startswith("__")]  # such as __name__
            while rest and module.startswith("stepopsd_agent") and _is_package(module, root):
                yield module, rest[0], node.lineno
                module = f"{module}.{rest.pop(0)}"


def _is_package(module: str, root: Path) -> bool:
    return Path(root, *module.split(".")).is_dir()


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
    """Places where a package of the project imports one that stands above it, a test or an example."""
    apart = {"tests", *(path.stem for path in (root / "examples").glob("*.py"))}
    found = []
    for path in sources(root):
        own = [TOPS.index(part) for part in path.relative_to(root).parts if part in TOPS]
        found += [
            f"{path.relative_to(root)}:{line} imports {module}"
            for module, _, line in imports(path, root)
            if own and module.partition(".")[0] in {*TOPS[own[-1] + 1 :], *apart}
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
            if ast.unparse(node).partition(".")[0] in imported and ast.unparse(node) not in PUBLIC
        ]
    return wrong


def past_the_door(root: Path = ROOT) -> list[str]:
    """Places that take from another room what it does not export, or go round its door to a file.

    The texts by which a registry names an entry stand for a file by design, and are left out.
    """
    rooms, found = exports(root), []
    for path in [*sources(root), *root.glob("README.md"), *sorted(root.glob("docs/*.md"))]:
        place = path.relative_to(root)
        own = place.parts[1] if place.parts[0] == "stepopsd_agent" else None
        for module, name, line in imports(path, root, texts=False):
            if room_of(module, name) in (None, own, "cli"):
                continue
            whole = f"{module}.{name}" if name else module
            if whole not in rooms and name not in rooms.get(module, ()):
                found.append(f"{place}:{line} imports {whole}")
    return found


def exports(root: Path = ROOT) -> dict[str, set[str]]:
    """The names in the stub of every package of the learner, by package."""
    found = {}
    for stub in (root / "stepopsd_agent").rglob("__init__.pyi"):
        nodes = ast.parse(stub.read_text(encoding="utf-8")).body
        names = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        found[".".join(stub.parent.relative_to(root).parts)] = names
    return found


def secondhand(root: Path = ROOT) -> list[str]:
    """Exports that the named file does not define itself, or that have the name of a file beside it."""
    wrong = []
    for stub in (root / "stepopsd_agent").rglob("__init__.pyi"):
        files = {path.stem for path in stub.parent.iterdir()}
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            assert isinstance(node, ast.ImportFrom) and node.level == 1, f"{stub}: from .file import name"
            names = {alias.name for alias in node.names}
            if node.module is None:  # a whole file, such as ops.losses
                wrong += [f"{stub}: there is no {name}" for name in names - files]
                continue
            file = stub.parent / (node.module.replace(".", "/") + ".py")
            own = _defined(ast.parse(file.read_text(encoding="utf-8")))
            wrong += [f"{stub}: {name} is not {node.module}'s" for name in names - own]
            wrong += [f"{stub}: {name} is a file's name, too" for name in names & files]
    return wrong


def _defined(tree: ast.Module) -> set[str]:
    """The names that a file defines itself."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
