"""The page of credit methods: from docstrings to Markdown, for methods of other packages, too."""

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.report import credit_methods, pages
from benchmarks.report.docstrings import attributes, markdown, prose, row
from stepopsd_agent import credit
from stepopsd_agent.credit import registry

FILE = '''
"""Thirds (arXiv 1234.56789): a third of `grpo` in <odd> *text*.

    A = R / 3
    B = |A|

    C = B

Departures:

- None from `grpo` or `thirds`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent import credit
from stepopsd_agent.credit.grpo import GRPO


@dataclass(frozen=True)
class Thirds(GRPO):
    """A third of the usual credit.

    It is a test's.

    Attributes:
        eps: of this class,
            on two lines with `|A|`.
        by: "nobody" or "teacher".
    """

    by: Literal["nobody", "teacher"] = "nobody"

    paper: ClassVar[str] = "Somebody, arXiv 1234.56789"

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's log-probabilities, where it is asked."""
        return frozenset({"teacher_logprobs"} if self.by == "teacher" else ())


credit.register("thirds", "someones_thirds:Thirds")
'''

SECTION = r"""`thirds`

Thirds ([arXiv 1234.56789](https://arxiv.org/abs/1234.56789)): a third of [`grpo`](#grpo) in \<odd> \*text\*.

```text
A = R / 3
B = |A|

C = B
```

**Departures:**

- None from [`grpo`](#grpo) or `thirds`.

It is a test's.

| setting | default | meaning |
|---|---|---|
| `baseline` | `"episode"` | BASELINE |
| `std` | `True` | divide by the group's standard deviation. |
| `eps` | `1e-06` | of this class, on two lines with `\|A\|`. |
| `by` | `"nobody"` | `"nobody"` or `"teacher"`. |

- Paper: Somebody, [arXiv 1234.56789](https://arxiv.org/abs/1234.56789)
- Needs: nothing but the records; with `by` `"teacher"`: `teacher_logprobs`
- Claims: `alone_zero`, `base`, `equal_returns_zero`
- Code: `someones_thirds.Thirds`
"""


@pytest.fixture
def with_thirds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page once a file outside the package has registered a method; the registry is restored."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "someones_thirds.py").write_text(FILE)
    __import__("someones_thirds")
    yield credit_methods.page()
    del sys.modules["someones_thirds"]


def test_methods_of_other_packages_are_rendered(with_thirds: str) -> None:
    """Text, equation, inherited and own settings, needs by choice; no link to a file that is elsewhere."""
    (section,) = [text for text in with_thirds.split("\n## ") if text.startswith("`thirds`")]
    expected = SECTION.replace("BASELINE", prose(attributes(credit.load("grpo"))["baseline"]))
    assert section.strip() == expected.strip()
    assert "| [`thirds`](#thirds) | A third of the usual credit. | - | - | Somebody, [arXiv" in with_thirds


def test_check_fails_where_a_method_is_not_on_the_page(
    with_thirds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is good again once the page is written."""
    monkeypatch.setattr(credit_methods, "PAGE", tmp_path / "credit-methods.md")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(pages, "README", tmp_path / "README.md")
    (tmp_path / "credit-benchmark.md").write_text("")
    monkeypatch.setattr(pages, "CREDIT_PAGES", (tmp_path / "credit-benchmark.md",))
    pages.README.write_text("")
    monkeypatch.setattr(sys, "argv", ["report"])
    assert pages.main() == 0 and credit_methods.PAGE.read_text(encoding="utf-8") == with_thirds
    monkeypatch.setattr(sys, "argv", ["report", "--check"])
    assert pages.main() == 0
    credit_methods.PAGE.write_text(with_thirds.replace("A third", "A fourth"), encoding="utf-8")
    assert pages.main() == 1


@pytest.mark.parametrize("name", credit.names())
def test_every_setting_has_a_meaning(name: str) -> None:
    """In the docstring of the dataclass, or of one that it inherits from; and nothing else is explained."""
    method = credit.load(name)
    assert set(attributes(method)) == {field.name for field in fields(method)}
    assert all(attributes(method).values())


def test_links_within_the_page_lead_somewhere() -> None:
    """Every #name is a heading, as GitHub writes them."""
    text = credit_methods.page()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {heading.replace("`", "").lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_docstring_keeps_lists_and_dedents_equations() -> None:
    """An item that goes on in the next line is no equation; a deeper line keeps its depth."""
    text = """Head.

    - an item
      goes on
    - another

        x = 1
          + 2
    """
    expected = [
        "Head.",
        "",
        "- an item",
        "  goes on",
        "- another",
        "",
        "```text",
        "x = 1",
        "  + 2",
        "```",
        "",
    ]
    assert markdown(text) == expected


def test_code_is_left_as_it_is_and_text_is_escaped() -> None:
    """Also code that goes on in the next line, or holds a backtick."""
    assert prose("a_b `a_b\nc` ``x`y`` [z]") == "a\\_b `a_b\nc` ``x`y`` \\[z\\]"
    assert prose("see `rloo`", ["rloo"]) == "see [`rloo`](#rloo)"
    assert row("a\nb", "`|`") == "| a b | `\\|` |"
