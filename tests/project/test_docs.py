"""The documentation is true: every Python snippet runs, every link leads somewhere, every command exists."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stepopsd_agent.cli.arguments import chosen
from stepopsd_agent.cli.config_file import named_files
from stepopsd_agent.cli.main import build_parser
from stepopsd_agent.config import recipe, recipe_names
from stepopsd_agent.rollout.engines.server import FLAGS
from stepopsd_envs.extras import install_command
from tests.helpers.snippets import shortened

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    """Path of a page as people write it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """Yield line number and text of the fenced blocks of these languages."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match["language"].strip() in languages:
            yield text.count("\n", 0, match.start()) + 2, match["code"]


def commands(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks, with continued lines joined; a bare fence counts as one."""
    for _, code in blocks(page, "bash", ""):
        yield from (line.removeprefix("$ ").strip() for line in code.replace("\\\n", " ").splitlines())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_snippets_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The snippets of a page run from top to bottom in one interpreter, as a reader would paste them.

    A training loop goes on from the model of the warm start that the page makes before, and is shortened.
    """
    padded = ["\n" * (line - 1) + code for line, code in blocks(page, "python")]
    if any("runs/warm" in code for code in padded):
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "warm").symlink_to(request.getfixturevalue("taught_model"))
        padded = [shortened(code) if "runs/warm" in code else code for code in padded]
    script = "".join(f"exec(compile({code!r}, {str(page)!r}, 'exec'))\n" for code in padded)
    if not script:
        return
    path = tmp_path / "snippets.py"
    path.write_text(script, encoding="utf-8")
    # An empty home folder: a reader has not what somebody once downloaded.
    search_path = os.pathsep.join([str(ROOT), str(ROOT / "wrappers")])
    environment = {**os.environ, "PYTHONPATH": search_path, "HOME": str(tmp_path)}
    command = [sys.executable, str(path)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


EXTRA = re.compile(r"pip install [^\n`]*?(?:stepopsd|\.)\[(?P<extra>\w+)\]'?|EXTRAS=(?P<made>\w+)")


def forms(extra: str) -> list[str]:
    """How an extra is installed: in a checkout, this folder, and where the package came as a wheel."""
    return [install_command(extra, place) for place in (Path(), Path("docs"))]


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("examples/*.py"))], ids=name)
def test_docs_install_extras_as_the_messages_do(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tested versions; a page is also read without a checkout, and has the other form, too."""
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8").replace("\n", " ")
    for found in EXTRA.finditer(text):
        extra = str(found["extra"] or found["made"])
        assert found["extra"], f"{found[0]} is for those alone who have a checkout and its ./.venv"
        assert found[0] in forms(extra), found[0]
        if page.parent.name == "docs":
            assert all(form in text for form in forms(extra)), f"give both: {forms(extra)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_hide_no_python(page: Path) -> None:
    """Python under another name, as in ```py, would be a snippet that nobody runs."""
    languages = {match["language"].strip() for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
    assert languages <= {"python", "bash", "text", "json", "yaml", "bibtex", ""}
    assert not [line for line in commands(page) if re.match(r"(import|from) \w+", line)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_links_lead_somewhere(page: Path) -> None:
    """Relative links name files of the project."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = (target for target in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in target)
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_make_targets_exist(page: Path) -> None:
    """Every `make TARGET` of a shell block stands in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {match[1] for line in commands(page) if (match := re.match(r"make ([a-z-]+)", line))}
    assert used <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_modules_and_configs_exist(page: Path) -> None:
    """Every `python -m MODULE` of the project and every config file of a shell block is there."""
    lines = list(commands(page))
    used = {match[1] for line in lines if (match := re.search(r"python -m (benchmarks(?:\.\w+)+)", line))}
    paths = {module: ROOT / module.replace(".", "/") for module in used}
    scripts = {name: (path.with_suffix(".py"), path / "__main__.py") for name, path in paths.items()}
    assert not [name for name, files in scripts.items() if not any(file.is_file() for file in files)]
    configs = {match[1] for line in lines if (match := re.search(r"--config[ =](\S+)", line))}
    assert not configs - set(recipe_names()) - {"RUN/config.yaml"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_docs_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `stepopsd` line of a shell block has a command, flags and a config that the parser takes."""
    monkeypatch.chdir(ROOT)
    for line in commands(page):
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "stepopsd":
            arguments = named_files(arguments)
            build_parser(*chosen(arguments), only=arguments[0]).parse_args(
                arguments
            )  # exits where it finds a mistake


def test_docs_server_takes_the_rows_of_the_recipe_and_no_more_than_its_model() -> None:
    """VLLM refuses a length beyond the model's positions; the run refuses one below its rows."""
    lines = list(commands(ROOT / "docs" / "vllm.md"))
    (server,) = (line for line in lines if "vllm serve" in line)
    (client,) = (line for line in lines if "--rollout.url" in line)
    settings = yaml.safe_load(recipe(shlex.split(client)[3]).read_text(encoding="utf-8"))
    longest = int(re.search(r"--max-model-len (\d+)", server)[1])  # type: ignore[index]
    assert settings["rollout"]["max_row_tokens"] <= longest <= settings["model"]["max_positions"]
    assert set(FLAGS.split()) <= set(shlex.split(server))
