"""Read PDDL: a domain or goal into nested lists, a problem into objects and facts."""

import re
from typing import NamedTuple

Tree = list["Tree | str"]
"""A parenthesised expression: words and further expressions, in lower case."""

_DEEPEST = 40  # levels of parentheses; official files have 12
_COMMENT = re.compile(r";[^\n]*")
_TOKEN = re.compile(r"[()]|[^\s()]+")
_OBJECTS = re.compile(r"\(\s*:objects\b([^()]*)\)", re.IGNORECASE)
_INIT = re.compile(
    r"\(\s*:init\b((?:\s*\([^()]*\)|\s*\(\s*=\s*\([^()]*\)\s*[\d.]+\s*\))*)\s*\)\s*\(\s*:goal\b",
    re.IGNORECASE,
)
_FACT = re.compile(r"\(([^()]*)\)")


class PddlError(ValueError):
    """A PDDL text cannot be read or played: `where` is the position in it, `problem` the reason."""

    def __init__(self, where: str, problem: str) -> None:
        """Store position and reason."""
        super().__init__(where, problem)
        self.where, self.problem = where, problem


class Problem(NamedTuple):
    """A PDDL problem, in lower case.

    Attributes:
        types: type of each declared object.
        spelling: name of each object in the spelling of the file.
        facts: the initial facts by predicate, each as the tuple of its arguments, without costs.
        goal: the condition to reach.
    """

    types: dict[str, str]
    spelling: dict[str, str]
    facts: dict[str, list[tuple[str, ...]]]
    goal: Tree


def parse(text: str, where: str) -> Tree:
    """The first expression of a text as nested lists; `where` names the text in errors.

    Raises:
        PddlError: the parentheses do not match, or are nested too deep.
    """
    stack: list[Tree] = [[]]
    for token in _TOKEN.findall(_COMMENT.sub("", text).lower()):
        if token == "(":
            stack.append([])
            if len(stack) > _DEEPEST:
                raise PddlError(where, f"more than {_DEEPEST} levels of parentheses")
        elif len(stack) == 1:
            raise PddlError(where, f"expected an opening parenthesis, got {token[:40]!r}")
        elif token == ")":
            closed = stack.pop()
            stack[-1].append(closed)
            if len(stack) == 1:
                return closed
        else:
            stack[-1].append(token)
    raise PddlError(where, "a parenthesis is not closed: the text seems to be cut off")


def parse_problem(text: str) -> Problem:
    """Read a problem; its two long sections, most of the file, are scanned by regex instead of parsed.

    Raises:
        PddlError: a section is missing, or cannot be read.
    """
    text = _COMMENT.sub("", text)
    if text.count("(") != text.count(")"):
        raise PddlError("", "its parentheses do not match: the text seems to be cut off")
    objects, init = _OBJECTS.search(text), _INIT.search(text)
    if not objects:
        raise PddlError(":objects", "there is no section (:objects name - type ...)")
    if not init:
        raise PddlError(
            ":init", "there is no section (:init (fact) ...) of plain facts, followed by (:goal ...)"
        )
    names, types = typed_list(objects[1].split(), ":objects")
    facts: dict[str, list[tuple[str, ...]]] = {}
    for fact in _FACT.findall(init[1].lower()):
        predicate, *arguments = fact.split() or [""]
        facts.setdefault(predicate, []).append(tuple(arguments))
    facts.pop("total-cost", None)
    facts.pop("distance", None)
    lower = [name.lower() for name in names]
    spelling, goal = dict(zip(lower, names, strict=True)), parse(text[init.end() :], ":goal")
    return Problem(dict(zip(lower, types, strict=True)), spelling, facts, goal)


def typed_list(words: list[str], where: str) -> tuple[list[str], list[str]]:
    """The names and the (lower-case) types in a list such as `a b - type c - type`.

    Raises:
        PddlError: a name has no type.
    """
    names: list[str] = []
    types: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-":
            type_ = next(rest, "").lower()
            types += [type_] * (len(names) - len(types))
        else:
            names.append(word)
    if len(types) != len(names) or "" in types:
        raise PddlError(
            where, f"expected names with types, 'name - type', but {names[-1] if names else '-'!r} has none"
        )
    return names, types
