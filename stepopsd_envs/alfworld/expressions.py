"""Compile values in templates, such as `o.indefinite + ' ' + o.name`, without evaluating them as code."""

import ast
from collections.abc import Callable

from stepopsd_envs.alfworld.queries import Bindings, Types
from stepopsd_envs.alfworld.wording import WordingError
from stepopsd_envs.alfworld.world import World

Text = Callable[[World, Bindings], str]
Value = str | Text

_ARTICLES = {"indefinite": "a", "definite": "the"}
_LONGEST = 200  # characters; official values have about 30, and 200 cannot nest deep enough for the stack


def value_text(expression: str, types: Types, where: str) -> Text:
    """Compile a value: names and articles of things, quoted texts, and sums of these; `x or y` gives x.

    Raises:
        WordingError: the value is too long, or of another form.
    """
    if len(expression) > _LONGEST:
        raise WordingError(where, f"a value has {len(expression)} characters; at most {_LONGEST} are read")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WordingError(where, f"{{{expression}}} is not a value ({error})") from error
    return _as_text(_compile(tree, dict(types), where, expression))


def _compile(tree: ast.expr, types: dict[str, str], where: str, whole: str) -> Value:
    """A constant, or a function that looks the value up."""
    match tree:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _sum(*(_compile(side, types, where, whole) for side in (left, right)))
        case ast.BoolOp(op=ast.Or(), values=[ast.Name() | ast.Attribute() as first, *_]):
            return _compile(first, types, where, whole)  # names are never empty, so the rest is never used
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name), attr="name") if name in types:
            kind = types[name]
            return lambda world, bindings: world.names[kind][bindings[name]]
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if (
            name in types and attribute in _ARTICLES
        ):
            return _ARTICLES[attribute]
    variables = ", ".join(sorted(types)) or "none"
    raise WordingError(
        where,
        f"the value {{{whole}}} cannot be used; it may name .name, .indefinite or .definite of {variables}",
    )


def _sum(left: Value, right: Value) -> Value:
    """Concatenation; computed now if both are constants."""
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    first, second = _as_text(left), _as_text(right)
    return lambda world, bindings: first(world, bindings) + second(world, bindings)


def _as_text(value: Value) -> Text:
    return (lambda world, bindings: value) if isinstance(value, str) else value
