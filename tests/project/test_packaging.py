"""What setup.cfg promises: the packages, the extras, the command, and imports that point one way."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from stepopsd_envs.extras import OWN_VERSIONS

ROOT = Path(__file__).parents[2]
WRAPPERS = ROOT / "wrappers"
ROOTS = {"stepopsd_envs": ROOT, "stepopsd_wrappers": WRAPPERS, "stepopsd_agent": ROOT, "benchmarks": ROOT}
LAYERS = list(ROOTS)  # each may import itself and those before it
OPTIONAL = {
    **{f"wrappers/stepopsd_wrappers/sb3/{name}.py": "sb3" for name in ("held_out", "policies", "vec_env")},
    "stepopsd_agent/adapters/openenv_server.py": "openenv",
    "stepopsd_agent/adapters/verifiers_taskset.py": "verifiers",
    "stepopsd_agent/adapters/verl_loop.py": "verl",
    "stepopsd_agent/rollout/engines/keyed_noise.py": "vllm",
}
"""Modules that build on an optional package, and its extra; nothing imports them unasked."""
LIGHT = {"stepopsd_envs", "gymnasium", "numpy"}  # what the environments may import when they are imported


def setup_cfg() -> configparser.ConfigParser:
    """Read setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> set[str]:
    """Names in a list of requirements, normalised."""
    names = (re.match(r"[\w.-]+", line.strip()) for line in text.splitlines())
    return {name[0].lower().replace("_", "-") for name in names if name}


def modules(layer: str) -> Iterator[tuple[Path, ast.Module]]:
    """Parse the modules of a layer."""
    for path in sorted((ROOTS[layer] / layer).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """Top-level names of import statements, with their lines."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level or (node.module or "").partition(".")[0]), node.lineno


def run_at_import(module: ast.Module) -> Iterator[ast.AST]:
    """Statements that run when a module is imported: not those in functions or under TYPE_CHECKING."""
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        yield node
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def test_setup_cfg_lists_every_package() -> None:
    """The packages listed are the folders with an __init__.py; a forgotten one would not be installed."""
    found = {
        ".".join(path.parent.relative_to(ROOTS[layer]).parts)
        for layer in LAYERS
        if layer != "benchmarks"  # run from a checkout, not installed
        for path in (ROOTS[layer] / layer).rglob("__init__.py")
    }
    assert set(setup_cfg()["options"]["packages"].split()) == found


def test_setup_cfg_installs_data_files_of_every_package() -> None:
    """Files beside the modules are of the kinds that package_data names; every layer is marked as typed."""
    data = setup_cfg()["options.package_data"]
    of_all = re.split(r"[,\s]+", data["*"].strip())
    recipes = re.split(r"[,\s]+", data["stepopsd_agent.config"].strip())
    for layer in LAYERS[:-1]:
        folder = ROOTS[layer] / layer
        assert (folder / "py.typed").is_file(), f"{folder}/py.typed is missing: type checkers would ignore it"
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                patterns = recipes if path.suffix == ".yaml" else of_all
                assert any(path.match(pattern) for pattern in patterns), f"{path} would not be installed"


def test_setup_cfg_has_the_extras() -> None:
    """Every documented extra exists, and `all` takes all that can be installed together."""
    extras = setup_cfg()["options.extras_require"]
    assert set(extras) == {
        "alfworld",
        "search",
        "lora",
        "gguf",
        "sb3",
        "ray",
        "vllm",
        "export",
        "trl",
        "verl",
        "openenv",
        "verifiers",
        "bench",
        "docs",
        "dev",
        "all",
    } | {
        "wandb",
        "trackio",
    }
    everything = extras["all"].strip().removeprefix("stepopsd[").removesuffix("]")
    assert set(everything.split(",")) == set(extras) - {"all", *OWN_VERSIONS}


def test_constraints_pin_core_and_development_requirements() -> None:
    """Whatever the core and `dev` ask for stands in constraints.txt with its version."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] not in ("#", "")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    config = setup_cfg()
    wanted = config["options"]["install_requires"] + config["options.extras_require"]["dev"]
    assert requirements(wanted) <= requirements("\n".join(pins))


def test_constraints_hold_a_version_of_every_optional_part_within_its_range() -> None:
    """Nothing at all is installed where a pin lies outside of what a part asks for."""
    lines = re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.M)
    pins = {canonicalize_name(name): version for name, version in lines}
    extras = setup_cfg()["options.extras_require"]
    wrong = {
        f"{name}: {wish}, pinned {pins.get(canonicalize_name(wish.name))}"
        for name, text in extras.items()
        if name not in OWN_VERSIONS | {"all"}
        for wish in map(Requirement, text.split())
        if pins.get(canonicalize_name(wish.name), "none") not in wish.specifier
    }
    assert not wrong


def test_constraints_admit_the_first_release_of_the_oldest_python() -> None:
    """Distributions ship 3.11.2; pip takes no version of a package that asks for more, and gives up."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w.-]+)==", text, re.M))
    asked = {
        dist.name: dist.metadata["Requires-Python"]
        for dist in distributions()
        if dist.name in pinned and dist.metadata["Requires-Python"] is not None
    }
    assert asked and not {name: wish for name, wish in asked.items() if "3.11.0" not in SpecifierSet(wish)}


def test_oldest_constraints_are_the_lower_bounds() -> None:
    """What the suite is run against as the oldest is what setup.cfg admits."""
    bounds = re.findall(
        r"^([\w.-]+)(?:\[\w+\])?>=([\d.]+)$", setup_cfg()["options"]["install_requires"], re.M
    )
    pins = [line for line in (ROOT / "constraints-oldest.txt").read_text().splitlines() if line[:1] != "#"]
    assert pins == [f"{name}=={version}" for name, version in bounds]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    """Environments know nothing of wrappers, wrappers nothing of the agent; imports are absolute."""
    later = {*LAYERS[LAYERS.index(layer) + 1 :], "tests", "."}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in modules(layer)
        for name, line in imported(ast.walk(module))
        if name in later
    ]
    assert not wrong


def test_core_imports_what_it_requires() -> None:
    """What a core module imports at its top is the standard library or a core requirement."""
    config = setup_cfg()
    required = requirements(config["options"]["install_requires"]) - {"pyyaml"} | {"yaml"}
    extras = config["options.extras_require"]
    wrong = []
    for layer in LAYERS[:-1]:
        for path, module in modules(layer):
            place = path.relative_to(ROOT).as_posix()
            more = requirements(extras[OPTIONAL[place]]) if place in OPTIONAL else set()
            allowed = {name.replace("-", "_") for name in required | more} | set(LAYERS)
            wrong += [
                f"{place}:{line} imports {name}"
                for name, line in imported(run_at_import(module))
                if name not in allowed | sys.stdlib_module_names
            ]
    assert not wrong


def test_environments_import_gymnasium_and_numpy_only() -> None:
    """No module of stepopsd_envs imports anything heavy when it is imported."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in modules("stepopsd_envs")
        for name, line in imported(run_at_import(module))
        if name not in LIGHT | sys.stdlib_module_names
    ]
    assert not wrong


def test_environments_and_wrappers_start_without_torch() -> None:
    """Making an environment in a fresh interpreter leaves torch and transformers out."""
    script = (
        "import sys, gymnasium, stepopsd_envs, stepopsd_wrappers, stepopsd_wrappers.sb3 as sb3;"
        "env = gymnasium.make('stepopsd/ALFWorld-v0');"
        "sb3.EncodeText(sb3.AdmissibleActions(env)).reset(seed=0);"
        "heavy = {'torch', 'transformers', 'matplotlib', 'rich', 'stable_baselines3'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    path = {"PYTHONPATH": f"{ROOT}:{WRAPPERS}"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=path)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("--help", "torch"),
        ("compare --help", "torch"),
        ("config list", "torch"),
        ("train --help", "transformers"),
    ],
)
def test_help_starts_without_what_only_training_needs(arguments: str, heavy: str) -> None:
    """In a fresh interpreter: torch takes seconds to import, transformers more."""
    script = (
        "import sys; from stepopsd_agent.cli.main import main\n"
        f"try: main({arguments.split()!r})\n"
        "except SystemExit: pass\n"
        f"print(sorted({{'matplotlib', 'transformers', {heavy!r}}} & set(sys.modules)), file=sys.stderr)"
    )
    path = {"PYTHONPATH": f"{ROOT}:{WRAPPERS}"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=path)
    assert result.stderr.strip() == "[]"


def test_version_has_one_owner() -> None:
    """The version stands in setup.cfg; CITATION.cff and the changelog name the same one."""
    version = setup_cfg()["metadata"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
