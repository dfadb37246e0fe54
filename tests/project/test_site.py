"""The documentation as a site: it builds without a warning, and no page needs another host."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

from stepopsd_agent import batch, credit, learner, models, rollout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python", "latex2mathml"):
        pytest.importorskip(package, reason="the extra docs is not installed: make docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_site_has_every_page_and_an_entry_for_every_name(site: Path) -> None:
    """Pages of the documentation, and what the rooms of a training loop export."""
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / page.with_suffix(".html").name).is_file()
    for room in (batch, credit, learner, models, rollout):
        text = (site / "reference" / f"{room.__name__}.html").read_text(encoding="utf-8")
        exports = {name: getattr(room, name) for name in room.__all__}
        kinds = [name for name, one in exports.items() if isinstance(one, type | FunctionType)]
        kinds = [name for name in kinds if exports[name].__module__.startswith(room.__name__)]
        assert len(kinds) > 3
        assert not [name for name in kinds if not re.search(rf'id="{room.__name__}\.\w+\.{name}"', text)]


def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    """Scripts, styles, fonts and pictures are files of the site; formulas are drawn by the browser."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'(?:<script[^>]* src|<img[^>]* src|<link [^>]*href)="([^"]*)"', text)
        assert not [address for address in loaded if re.match("(https?:)?//", address)], page
    algorithms = (site / "algorithms.html").read_text(encoding="utf-8")
    assert "<math" in algorithms and "&amp;lt;" not in algorithms and "arithmatex" not in algorithms


def test_site_shows_the_files_that_pages_link_to(site: Path) -> None:
    """An example is a page with its text."""
    text = (site / "source" / "examples" / "own_credit_method.py.html").read_text(encoding="utf-8")
    assert "HighEntropy" in text and "register_column" in text
