"""Tests that play a taught model are marked `samples`, so that they run on other kernels, too."""

import ast
import configparser
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "tests").rglob("test_*.py"))
SAMPLING = {
    "tests.helpers.runs": frozenset({"taught", "cloned", "SETTINGS"}),
    "tests.helpers.search_qa_runs": frozenset({"search_flags", "search_run_config", "SETTINGS"}),
}
"""What leads to a model that plays, by the helper's module; beside it the fixture `taught_model`."""


@cache
def sampling(module: str) -> frozenset[str]:
    """The names of a module of tests that lead to a model that plays."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    known = SAMPLING.get(module)
    return known if known is not None else reaching(ast.parse(path.read_text(encoding="utf-8")))


def reaching(tree: ast.Module) -> frozenset[str]:
    """Names that are imported as such, and every function, class and constant that uses one of them."""
    found = {"taught_model"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
            names = sampling(node.module)
            found |= {alias.asname or alias.name for alias in node.names if alias.name in names}
    used = {name: inside for node in tree.body for name, inside in defined(node).items()}
    while more := {name for name, inside in used.items() if name not in found and inside & found}:
        found |= more
    return frozenset(found)


def defined(node: ast.stmt) -> dict[str, set[str]]:
    """The names that a statement defines, each with the variables and arguments inside."""
    inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    inside |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name: inside}
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    return {n.id: inside - {n.id} for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def marked(*nodes: ast.AST) -> bool:
    """Whether `pytest.mark.samples` stands in one of them."""
    return any("pytest.mark.samples" in ast.unparse(node) for node in nodes)


def unmarked(source: str) -> list[str]:
    """Tests of a module that play a model without the marker."""
    tree = ast.parse(source)
    if any(marked(node) for node in tree.body if "pytestmark" in defined(node)):
        return []
    names = reaching(tree)
    tests = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    return [test.name for test in tests if test.name in names and not marked(*test.decorator_list)]


def test_tests_that_play_a_model_are_marked() -> None:
    """Directly or by helpers of their own: one that is forgotten would run on the kernels of one machine."""
    names = {str(path): unmarked(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path: tests for path, tests in names.items() if tests} == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from tests.helpers.runs import taught\ndef test_a(): taught()", ["test_a"]),
        ("from tests.helpers.runs import taught as t\ndef f(): t()\ndef test_a(): f()", ["test_a"]),
        ("from tests.helpers.runs import run_config\ndef test_a(): run_config()", []),
        ("from tests.helpers.runs import SETTINGS\nS = {**SETTINGS}\ndef test_a(): f(S)", ["test_a"]),
        ("from tests.agent.run.test_trainer import trainer\ndef test_a(): trainer()", ["test_a"]),
        ("def test_a(taught_model): pass\n@pytest.mark.samples\ndef test_b(taught_model): pass", ["test_a"]),
        ("pytestmark = [pytest.mark.slow, pytest.mark.samples]\ndef test_a(taught_model): pass", []),
    ],
)
def test_a_forgotten_marker_is_noticed(source: str, names: list[str]) -> None:
    """Imported under another name, used by a helper, kept in a constant, or as a fixture."""
    assert unmarked(source) == names


def test_continuous_integration_runs_the_marked_tests_on_two_other_kernels() -> None:
    """By a target of the Makefile; the marker is declared. Few tests are left out there."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert "\nsamples:" in parser["tool:pytest"]["markers"]
    assert "make test-kernels" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    _, _, target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ntest-kernels:")
    recipe = target.partition("\n\n")[0]
    assert recipe.count('-m "samples and not repeats and not slow and not gpu"') == 2
    texts = (path.read_text(encoding="utf-8") for path in MODULES if path != Path(__file__))
    assert 0 < sum(text.count("@pytest.mark.repeats") for text in texts) <= 12
    assert "ATEN_CPU_CAPABILITY=default" in recipe and "ONEDNN_MAX_CPU_ISA=SSE41" in recipe
