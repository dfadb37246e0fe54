"""The page for a browser: whole, by itself, and made of what is measured."""

import json
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.report.html import RESULTS, inline, page

VOID = frozenset({"meta", "img"})


class Balanced(HTMLParser):
    """Notes elements that are open, and everything that is loaded from somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open it."""
        assert tag != "script"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    """From the committed accuracy and made-up curves; names are escaped, what is not measured is left out."""
    accuracy = json.loads((RESULTS / "credit_accuracy.json").read_text())
    stages = accuracy["sets"]["small"]
    stages["end"]["methods"]["<b>"] = stages["end"]["methods"]["grpo"]
    accuracy["sets"]["small"] = {"end": stages["end"]}
    (tmp_path / "credit_accuracy.json").write_text(json.dumps(accuracy))
    text = page(tmp_path)
    assert "Learning" not in text
    rows = {
        "grpo": {
            "updates": [0, 10],
            "curves": [[0.2, 0.4], [0.3, 0.5]],
            "last": [0.4, 0.5],
            "updates_to_reach": [None, 10],
            "env_steps": [1, 3],
            "tokens": [1, 3],
        }
    }
    figures = {"grpo": {"iqm": 0.35, "ci95": [0.3, 0.4]}}
    about = {"set": "full", "seeds": 2, "matched": False}
    learned = {"rows": rows, "compared": figures, "compared_training": figures, "over_grpo": {}, **about}
    (tmp_path / "credit_learning.json").write_text(json.dumps({**accuracy, **learned}))
    text = page(tmp_path)
    read = Balanced()
    read.feed(text)
    assert not read.open and len(read.loaded) == 2
    assert all(one.startswith("data:image/png;base64,") for one in read.loaded)
    assert "&lt;b&gt;" in text and "<b>" not in text and "Learning" in text
    assert "<td><code>grpo</code></td><td>2</td><td>0.350 [0.30, 0.40]</td>" in text


def test_tables_of_the_pages_are_on_it(tmp_path: Path) -> None:
    """Those of the larger reader and of the commands of one state, each with its origin once."""
    for name in ("credit_reader.json", "credit_qval.json"):
        (tmp_path / name).write_text((RESULTS / name).read_text())
    text = page(tmp_path)
    read = Balanced()
    read.feed(text)
    assert not read.open and not read.loaded
    assert text.count("<h2>") == 2 and text.count("<code>python -m") == 2
    assert "<em>control: " in text and "| " not in text and "`" not in text


def test_a_line_is_escaped_before_it_is_marked() -> None:
    """Code, emphasis, and what only looks like an element."""
    assert inline("a `x < y` *b* **c**") == "a <code>x &lt; y</code> <em>b</em> <strong>c</strong>"
