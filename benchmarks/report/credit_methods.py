"""docs/credit-methods.md: every registered credit method, from its docstrings, fields and class variables."""

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmarks.report.docstrings import attributes, description, markdown, prose, row, summary
from stepopsd_agent import credit
from stepopsd_agent.credit import CreditMethod

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "credit-methods.md"
HEAD = """# Credit methods

Made by `python -m benchmarks.report` from the docstrings in `stepopsd_agent/credit`.

`stepopsd train --credit.method NAME` trains with a method; `--credit.SETTING VALUE` changes one of its
settings. [Algorithms](algorithms.md) describes the hindsight teacher, the loss and the checks on every batch,
and how to add a method of your own.
"""


def _page(name: str) -> str:
    """The text at the head of a file of the room that exports no class or function to ask for it."""
    return str(import_module(f"{credit.__name__}.{name}").__doc__)


def page() -> str:
    """The whole page, of all methods that are registered now; those with the same needs stand together."""
    methods = {name: credit.make(name) for name in credit.names()}
    names = sorted(methods, key=lambda name: (sorted(methods[name].needs, reverse=True), name))
    lines = [HEAD, "| method | summary | needs | scheduled | paper |", "|---|---|---|---|---|"]
    lines += [overview(name, methods[name]) for name in names]
    lines += ["", "## Common to all methods", "", *markdown(_page("base"), names)]
    lines += ["## Common to methods with a teacher", "", *markdown(_page("teacher_gap"), names)]
    for name in names:
        lines += section(name, methods[name], [other for other in names if other != name])
    return "\n".join(lines)


def overview(name: str, method: CreditMethod) -> str:
    """A method's row in the first table."""
    needs, scheduled = listed(method.needs) or "-", listed(method.scheduled) or "-"
    return row(f"[`{name}`](#{name})", prose(summary(type(method))), needs, scheduled, prose(method.paper))


def section(name: str, method: CreditMethod, linked: list[str]) -> list[str]:
    """Text, settings and facts of a method."""
    cls = type(method)
    lines = [f"## `{name}`", "", *markdown(sys.modules[cls.__module__].__doc__, linked)]
    lines += markdown(description(cls), linked)
    lines += settings(method, linked) if fields(cls) else ["It has no settings."]
    return [*lines, "", *(f"- {label}: {text}" for label, text in facts(method) if text), ""]


def settings(method: CreditMethod, linked: list[str]) -> list[str]:
    """The table of a method's fields."""
    meanings = attributes(type(method))
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for field in fields(type(method)):
        meaning = prose(meanings.get(field.name, ""), linked)
        lines.append(row(f"`{field.name}`", value(getattr(method, field.name)), meaning))
    return lines


def facts(method: CreditMethod) -> Iterator[tuple[str, str]]:
    """Label and text of what the class variables say."""
    cls = type(method)
    yield "Paper", prose(method.paper)
    yield "Needs", "; ".join([needed(method), *other_needs(method)])
    yield "Scheduled", listed(method.scheduled)
    yield "Claims", listed(method.claims)
    path = f"{cls.__module__.replace('.', '/')}.py"
    code = f"`{cls.__module__}.{cls.__qualname__}`"
    yield "Code", f"[{code}](../{path})" if (ROOT / path).is_file() else code


def needed(method: CreditMethod) -> str:
    """The columns a method needs."""
    return listed(method.needs) or "nothing but the records"


def other_needs(method: CreditMethod) -> Iterator[str]:
    """The columns it needs instead where another choice of a field changes them."""
    for name, kind in get_type_hints(type(method)).items():
        for choice in get_args(kind) if get_origin(kind) is Literal else ():
            changes: dict[str, Any] = {name: choice}
            other = replace(method, **changes)
            if other.needs != method.needs:
                yield f"with `{name}` {value(choice)}: {needed(other)}"


def value(given: object) -> str:
    """The value of a setting as code, strings in double quotes."""
    return f'`"{given}"`' if isinstance(given, str) else f"`{given!r}`"


def listed(names: frozenset[str]) -> str:
    """Names as code, sorted."""
    return ", ".join(f"`{name}`" for name in sorted(names))
