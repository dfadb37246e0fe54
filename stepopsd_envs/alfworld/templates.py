"""Compile the templates of a wording into Python functions, once per wording.

The notation of the official grammar:

- `#symbol#` is replaced by the first alternative of that rule whose condition holds;
- `{o.name}` is replaced by a value, `{o.name | query}` by the values of all answers to the query, and
  `[{o.name | query}]` by a list of them, with `#list_separator#` and `#list_last_separator#` in between, or
  `#list_empty#`;
- a query is a conjunction, `inreceptacle(o:object, r:receptacle) & opened(r:receptacle)`.

As in the original, blanks before the first symbol are dropped. A template ends at the first character that
cannot begin a symbol; the rest is dropped. Answers come in the order of the indices of things; different
variables stand for different things.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from stepopsd_envs.alfworld.expressions import value_text
from stepopsd_envs.alfworld.queries import Bindings, Query, Types, compile_query
from stepopsd_envs.alfworld.wording import Wording, WordingError
from stepopsd_envs.alfworld.world import World

Text = Callable[[World, Bindings], str]

ACTION_VARIABLES: dict[str, dict[str, str]] = {
    "look": {"a": "agent", "l": "location"},
    "inventory": {"a": "agent"},
    "help": {"a": "agent"},
    "examineReceptacle": {"a": "agent", "r": "receptacle"},
    "examineObject": {"a": "agent", "o": "object"},
    "GotoLocation": {"a": "agent", "lstart": "location", "lend": "location", "r": "receptacle"},
    "OpenObject": {"a": "agent", "l": "location", "r": "receptacle"},
    "CloseObject": {"a": "agent", "l": "location", "r": "receptacle"},
    "PickupObject": {"a": "agent", "l": "location", "o": "object", "r": "receptacle"},
    "PutObject": {"a": "agent", "l": "location", "o": "object", "r": "receptacle"},
    "CleanObject": {"a": "agent", "l": "location", "o": "object", "r": "receptacle"},
    "HeatObject": {"a": "agent", "l": "location", "o": "object", "r": "receptacle"},
    "CoolObject": {"a": "agent", "l": "location", "o": "object", "r": "receptacle"},
    "ToggleObject": {"a": "agent", "l": "location", "o": "object"},
    "SliceObject": {"a": "agent", "l": "location", "co": "object", "ko": "object"},
}
"""Variables, with types, that the templates of an action may name besides those bound by queries."""

_DEEPEST = 40  # nested rules; official wordings have 4

_START = re.compile(r"(?://[^\n]*\n?|\s+)*")
_LITERAL = r'[^;|"<>\[\]#{}]'
_TAG = r"[\w()/!<>\-\s,.]+"
_BRACES = rf"\{{(?:\#(?P<%s>{_TAG})\#|(?P<%s>[^|\[\]{{}}\n<>]+))(?:\s*\|\s*(?P<%s>[^;|{{}}\n\[\]#]+))?\}}"
_SYMBOL = re.compile(
    rf'"(?P<quoted>{_LITERAL}*)"|(?P<literal>{_LITERAL}+)|\#(?P<symbol>{_TAG})\#'
    rf"|\[{_BRACES % ('list_symbol', 'list_value', 'list_query')}\]"
    rf"|{_BRACES % ('one_symbol', 'one_value', 'one_query')}"
)


class Texts(NamedTuple):
    """A compiled wording: the opening text, and per action the texts of its command and its feedback."""

    opening: Text
    commands: dict[str, Text]
    feedback: dict[str, Text]


@lru_cache(maxsize=16)
def compile_wording(wording: Wording) -> Texts:
    """Compile all templates.

    Raises:
        WordingError: a template cannot be compiled.
    """
    compiler = _Compiler({symbol: alternatives for symbol, alternatives in wording.rules})
    commands, feedback = {}, {}
    for action, command, answer in wording.actions:
        types = tuple(sorted(ACTION_VARIABLES[action].items()))
        commands[action] = compiler.template(command, types, f"command of {action}")
        feedback[action] = compiler.template(answer, types, f"feedback of {action}")
    return Texts(compiler.symbol("intro", ()), commands, feedback)


def symbols_in(text: str) -> set[str]:
    """The rules that a template refers to directly."""
    symbols = set()
    for match in _matches(text):
        group = match.groupdict()
        symbols |= {name for key in ("symbol", "list_symbol", "one_symbol") if (name := group[key])}
        if group["list_symbol"] or group["list_value"]:
            symbols |= {"list_empty", "list_separator", "list_last_separator"}
    return symbols


def literal_text(text: str) -> str | None:
    """The text of a template that has no references and values; None for other templates."""
    matches = _matches(text)
    if not all(match["literal"] or match["quoted"] is not None for match in matches):
        return None
    return "".join(match["literal"] or match["quoted"] for match in matches)


def _matches(text: str) -> list[re.Match[str]]:
    """The symbols of a template, up to the first character that cannot begin a symbol."""
    start = _START.match(text)
    position = start.end() if start else 0
    matches = []
    while match := _SYMBOL.match(text, position):
        matches.append(match)
        position = match.end()
        while text.startswith("\t", position):
            position += 1
    return matches


class _Compiler:
    """Compiles each rule once per set of variables that are bound where it is used."""

    def __init__(self, rules: dict[str, tuple[tuple[str, str], ...]]) -> None:
        self._rules = rules
        self._symbols: dict[tuple[str, Types], Text] = {}
        self._open: list[str] = []

    def symbol(self, name: str, types: Types) -> Text:
        """The text of `#name#`."""
        if name == "task":
            return lambda world, bindings: "Your task is to: " + world.game.goal
        if name in self._open or len(self._open) > _DEEPEST:
            raise WordingError(f"rule {name!r}", "it refers to itself, or rules are nested too deep")
        if (name, types) not in self._symbols:
            self._open.append(name)
            self._symbols[name, types] = self._alternatives(name, types)
            self._open.pop()
        return self._symbols[name, types]

    def _alternatives(self, name: str, types: Types) -> Text:
        where = f"rule {name!r}"
        if name not in self._rules:
            raise WordingError(where, "a template refers to this rule, but it does not exist")
        choices: list[tuple[Query, Text]] = []
        for condition, text in self._rules[name]:
            compiled = self.template(text, types, where)
            if not condition:
                return _first_choice(choices, compiled)
            choices.append((compile_query(condition, types, where), compiled))
        raise WordingError(
            where, "its last alternative has a condition, so there may be no text; add one without condition"
        )

    def template(self, text: str, types: Types, where: str) -> Text:
        """The text of a template."""
        parts = [self._part(match, types, where) for match in _matches(text)]
        if len(parts) == 1:
            return parts[0]
        return lambda world, bindings: "".join([part(world, bindings) for part in parts])

    def _part(self, match: re.Match[str], types: Types, where: str) -> Text:
        group = match.groupdict()
        literal = group["quoted"] if group["quoted"] is not None else group["literal"]
        if literal is not None:
            return lambda world, bindings: literal
        if group["symbol"]:
            return self.symbol(group["symbol"], types)
        listed = group["list_symbol"] or group["list_value"]
        kind = "list" if listed else "one"
        symbol, value, given = (group[f"{kind}_{part}"] for part in ("symbol", "value", "query"))
        query = compile_query(given, types, where) if given else None
        inner_types = query.types if query else types
        inner = self.symbol(symbol, inner_types) if symbol else value_text(value, inner_types, where)
        if not listed:
            return inner if query is None else _concatenated(query, inner)
        empty, comma, last = (
            self.symbol(f"list_{part}", types) for part in ("empty", "separator", "last_separator")
        )
        return _listed(query, inner, (empty, comma, last))


def _first_choice(choices: list[tuple[Query, Text]], otherwise: Text) -> Text:
    if not choices:
        return otherwise

    def text(world: World, bindings: Bindings) -> str:
        for query, chosen in choices:
            if query.holds(world, bindings):
                return chosen(world, bindings)
        return otherwise(world, bindings)

    return text


def _concatenated(query: Query, inner: Text) -> Text:
    return lambda world, bindings: "".join(
        [inner(world, answer) for answer in query.answers(world, bindings)]
    )


def _listed(query: Query | None, inner: Text, marks: tuple[Text, Text, Text]) -> Text:
    empty, comma, last = marks
    if query is None:
        return inner
    answers = query.answers

    def text(world: World, bindings: Bindings) -> str:
        entries = [inner(world, answer) for answer in answers(world, bindings)]
        if len(entries) > 1:
            return comma(world, bindings).join(entries[:-1]) + last(world, bindings) + entries[-1]
        return entries[0] if entries else empty(world, bindings)

    return text
