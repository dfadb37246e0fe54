"""Hooks of the documentation site: the reference, pages for source files that are linked, and formulas.

MkDocs runs these while it builds, see ``mkdocs.yml``:

- The reference has a page for every room, with the names that its ``__init__.pyi`` exports.
- A link to a file of the project, such as an example, leads to a page that shows the file.
- Formulas become MathML, which browsers draw by themselves.
"""

import ast
import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?P<target>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
ENVIRONMENTS = [
    "stepopsd_envs.alfworld.env.AlfworldEnv",
    "stepopsd_envs.search_qa.env.SearchQAEnv",
    "stepopsd_envs.text_env.TextEnv",
    "stepopsd_envs.text_env.Outcome",
    "stepopsd_envs.testing.check_text_env",
    "stepopsd_envs.search_qa.retrieval.base.Retriever",
    "stepopsd_envs.search_qa.retrieval.base.Passage",
    "stepopsd_envs.search_qa.retrieval.opening.open_retriever",
    "stepopsd_envs.search_qa.retrieval.server.serve",
]
"""What users of the environments name beside their ids; that package has no list of its own."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cfg": "ini", ".toml": "toml"}


def on_config(config: Any) -> Any:
    """Add the reference to the navigation."""
    rooms = [{title: f"reference/{title}.md"} for title, _, _ in _rooms()]
    config.nav.append({"Reference": ["reference/index.md", *rooms]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the reference, and one for every file of the project that some page links to."""
    rows = [f"| [`{title}`]({title}.md) | {_sentence(path)} |" for title, path, _ in _rooms()]
    index = "\n".join(["# Reference", "", "| import from | what it is for |", "|---|---|", *rows])
    pages = {"reference/index.md": index}
    for title, path, names in _rooms():
        entries = "\n".join(f"::: {name}\n" for name in names)
        pages[f"reference/{title}.md"] = f"# {title}\n\n{_sentence(path)}\n\n{entries}"
    for page in (ROOT / "docs").glob("*.md"):
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            name = posixpath.normpath(posixpath.join("docs", match["target"]))
            pages[_shown_at(name)] = _shown(name)
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to files of the project to the pages that show them."""

    def shown(match: re.Match[str]) -> str:
        name = posixpath.normpath(
            posixpath.join("docs", posixpath.dirname(page.file.src_uri), match["target"])
        )
        target = posixpath.relpath(_shown_at(name), posixpath.dirname(page.file.src_uri) or ".")
        return f"]({target})"

    return LINK.sub(shown, markdown) if "/" not in page.file.src_uri else markdown


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Write formulas as MathML."""

    def drawn(match: re.Match[str]) -> str:
        return str(convert(unescape(match["tex"]), display="block" if match["tag"] == "div" else "inline"))

    return FORMULA.sub(drawn, html)


def _rooms() -> list[tuple[str, Path, list[str]]]:
    """Import path, file, and full names of the exports of every package that users import from."""
    envs = ROOT / "stepopsd_envs" / "__init__.py"
    wrappers = ROOT / "wrappers" / "stepopsd_wrappers" / "__init__.py"
    found = [
        ("stepopsd_envs", envs, ENVIRONMENTS),
        ("stepopsd_wrappers", wrappers, _exports(wrappers, ROOT / "wrappers")),
    ]
    for path in sorted((ROOT / "stepopsd_agent").glob("*/__init__.pyi")):
        found.append((f"stepopsd_agent.{path.parent.name}", path.with_suffix(".py"), _exports(path, ROOT)))
    return found


def _exports(path: Path, root: Path) -> list[str]:
    """Full names of the functions and classes that a package imports from its own files, in its order."""
    package = ".".join(path.parent.relative_to(root).parts)
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        module = f"{package}.{node.module}" if node.level else str(node.module)
        file = root.joinpath(*module.split(".")).with_suffix(".py")
        if module.startswith(package) and file.is_file():
            kinds = (ast.FunctionDef, ast.ClassDef)
            defined = {
                one.name for one in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(one, kinds)
            }
            names += [f"{module}.{alias.name}" for alias in node.names if alias.name in defined]
    return names


def _sentence(path: Path) -> str:
    """The first sentence of a package's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


def _shown_at(name: str) -> str:
    """The page that shows a file of the project."""
    return f"source/{name}" if name.endswith(".md") else f"source/{name}.md"


def _shown(name: str) -> str:
    path = ROOT / name
    if path.is_dir():
        inside = sorted(one.name for one in path.iterdir() if not one.name.startswith(("_", ".")))
        return "\n".join([f"# {name}", "", *(f"- `{one}`" for one in inside)])
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":  # its own links lead to files that the site may not have
        return re.sub(r"(!?)\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\2", text)
    return f"# {path.name}\n\n`{name}`\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{text}````\n"
