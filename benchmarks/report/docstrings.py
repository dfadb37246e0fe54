"""Docstrings as Markdown.

A docstring is taken for plain text with code between backticks. Its paragraphs and lists stay. Blocks that
are indented behind an empty line (equations) become code blocks, the `LABELS` at the head of a paragraph
become bold, and a word in double quotes, the value of a setting, becomes code.
"""

import inspect
import re
from collections.abc import Collection
from itertools import groupby

LABELS = ("Degenerate case", "Degenerate cases", "Departure", "Departures", "Example", "Note", "Source")

_CODE = re.compile(r'(?P<ticks>`+)(?P<code>.+?)(?P=ticks)|(?P<value>"[\w+-]+")', re.DOTALL)
_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")
_FIELD = re.compile(r"(?P<name>\w+)(?: \([^)]*\))?:\s*(?P<meaning>.*)")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Examples?):$")


def own_doc(cls: type) -> str:
    """The docstring of a class itself, not one that it inherits."""
    return inspect.cleandoc(vars(cls).get("__doc__") or "")


def summary(cls: type) -> str:
    """The first sentence of a class."""
    return own_doc(cls).partition("\n\n")[0]


def description(cls: type) -> str:
    """The part of a class's docstring between the summary and the first section of Google's style."""
    lines = own_doc(cls).splitlines()
    ends = [number for number, line in enumerate(lines) if _SECTION.match(line)]
    return "\n".join(lines[: min(ends, default=len(lines))]).strip().partition("\n\n")[2]


def attributes(cls: type) -> dict[str, str]:
    """Field to meaning, from the sections ``Attributes:`` of a class and of those it inherits from."""
    meanings: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        _, _, text = own_doc(ancestor).partition("Attributes:\n")
        name = ""
        for line in text.splitlines():
            if line and not line.startswith(" "):
                break
            if entry := _FIELD.match(line[4:]):
                name = entry["name"]
                meanings[name] = entry["meaning"]
            elif name:
                meanings[name] = f"{meanings[name]} {line.strip()}".strip()
    return meanings


def markdown(doc: str | None, linked: Collection[str] = ()) -> list[str]:
    """Lines of a docstring's paragraphs, lists and code blocks, an empty line behind each."""
    blocks = [block for block in re.split(r"\n\s*\n", inspect.cleandoc(doc or "")) if block.strip()]
    lines: list[str] = []
    for indented, neighbours in groupby(blocks, key=lambda block: block.startswith("    ")):
        if indented:
            code = inspect.cleandoc("\n" + "\n\n".join(neighbours))
            lines += ["```text", *code.splitlines(), "```", ""]
        else:
            for paragraph in neighbours:
                lines += [*_labelled(prose(paragraph, linked)).splitlines(), ""]
    return lines


def prose(text: str, linked: Collection[str] = ()) -> str:
    """A paragraph as Markdown; arXiv ids become links, and so does code that is one of `linked`."""
    parts, end = [], 0
    for match in _CODE.finditer(text):
        code = match[0] if match["code"] else f"`{match['value']}`"
        parts += [_escaped(text[end : match.start()])]
        parts += [f"[{code}](#{match['code']})" if match["code"] in linked else code]
        end = match.end()
    return "".join([*parts, _escaped(text[end:])])


def row(*cells: str) -> str:
    """A row of a table, each cell in one line; a bar inside a cell would end it."""
    bar = r"\|"
    return f"| {' | '.join(' '.join(cell.split()).replace('|', bar) for cell in cells)} |"


def _labelled(paragraph: str) -> str:
    """The paragraph with its label, if it begins with one, in bold."""
    label, colon, rest = paragraph.partition(":")
    return f"**{label}:**{rest}" if colon and label.partition(",")[0] in LABELS else paragraph


def _escaped(text: str) -> str:
    """Text without Markdown's own signs, but for lists; arXiv ids as links."""
    plain = re.sub(r"([\\*_<$\[\]])", r"\\\1", text)
    plain = re.sub(r"^(\s*)\\\*(?= )", r"\1*", plain, flags=re.MULTILINE)
    return _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", plain)
