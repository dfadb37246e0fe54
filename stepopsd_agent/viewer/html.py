"""The page: a template, its style and script, and the data, in one file that opens from disk.

The data are in a script element of a type that browsers do not execute, with every character escaped that
could end it or start another; the script makes text nodes of them, never markup. Should both fail, a content
security policy that names the script by its hash still lets nothing else run, and nothing be fetched.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from stepopsd_envs.plain_file import plain_file

SCRIPTS = ("base", "list", "episode", "strip", "charts", "main")
MARK = "<!doctype html><!-- made by stepopsd view -->"
"""The beginning of a page, so that only a page is overwritten by a new one."""


def page(data: Mapping[str, Any]) -> str:
    """The HTML of the page that shows `page_data`."""
    style, script = _file("style.css"), script_text()
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    parts = {
        "policy": f"default-src 'none'; img-src data:; {allowed}",
        "style": style,
        "script": script,
        "data": embedded(data),
    }
    # Split first, so that inserted text is not searched for placeholders.
    pieces = re.split(r"\{\{(\w+)\}\}", _file("template.html"))
    return MARK + "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def embedded(data: Mapping[str, Any]) -> str:
    """JSON in ASCII, with the characters escaped that have a meaning in HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def script_text() -> str:
    """The script, joined from its files inside a function, so that it defines no global names."""
    return '"use strict";\n(() => {\n' + "\n".join(_file(f"{name}.js") for name in SCRIPTS) + "})();\n"


def is_page(path: Path) -> bool:
    """Whether a file is a page of the viewer."""
    with plain_file(path).open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


@cache
def _file(name: str) -> str:
    return (files("stepopsd_agent.viewer") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
