"""Compile the queries in templates: conjunctions of properties and relations of things in a household."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stepopsd_envs.alfworld.wording import WordingError
from stepopsd_envs.alfworld.world import PROPERTIES, RELATIONS, World, bits

Bindings = dict[str, int]
"""The index of the thing that each variable stands for."""
Types = tuple[tuple[str, str], ...]
"""Pairs (variable, type of its things), sorted."""
Step = Callable[[World, Bindings], Iterator[Bindings]]

_ATOM = re.compile(r"\s*(\w+)\(\s*([^()]*?)\s*\)\s*")
_VARIABLE = re.compile(r"(\w+)\s*:\s*(\w+)")


class Query(NamedTuple):
    """A compiled query: a test whether it holds, all its answers, and the variables bound in an answer."""

    holds: Callable[[World, Bindings], bool]
    answers: Callable[[World, Bindings], Iterator[Bindings]]
    types: Types


def compile_query(text: str, types: Types, where: str) -> Query:
    """Compile a query; the variables of `types` are bound already.

    Raises:
        WordingError: the query has another form, or an unknown condition or type; `where` names it.
    """
    known = dict(types)
    tests: list[Callable[[World, Bindings], bool]] = []
    steps: list[Step] = []
    for atom in text.split("&"):
        name, variables = _parse_atom(atom, known, where)
        new = [variable for variable, _ in variables if variable not in known]
        if not new:
            test = _test(name, [variable for variable, _ in variables])
            tests.append(test)
            steps.append(_filter(test))
        else:
            steps.append(_search(name, [variable for variable, _ in variables], known))
        known.update(variables)
    bound, answers = tuple(sorted(known.items())), _chain(steps)
    if len(tests) == len(steps):
        return Query(_all_of(tests), answers, bound)
    return Query(lambda world, bindings: next(answers(world, bindings), None) is not None, answers, bound)


def _parse_atom(text: str, known: dict[str, str], where: str) -> tuple[str, list[tuple[str, str]]]:
    match = _ATOM.fullmatch(text)
    if not match:
        raise WordingError(where, f"condition {text.strip()!r} is not of the form name(variable:type, ...)")
    name, arguments = match.groups()
    matches = [_VARIABLE.fullmatch(argument.strip()) for argument in arguments.split(",")]
    variables = [(part[1], part[2]) for part in matches if part]
    if name in PROPERTIES:
        expected: tuple[str, ...] = (PROPERTIES[name].type,)
    elif name in RELATIONS:
        expected = RELATIONS[name].types
    else:
        allowed = ", ".join(sorted([*PROPERTIES, *RELATIONS]))
        raise WordingError(where, f"condition {name!r} is not known; known are {allowed}")
    if len(variables) != len(matches) or tuple(type_ for _, type_ in variables) != expected:
        raise WordingError(where, f"condition {text.strip()!r} must be about ({', '.join(expected)})")
    if any(known.get(variable, type_) != type_ for variable, type_ in variables):
        raise WordingError(where, f"condition {text.strip()!r} uses a variable of another type")
    return name, variables


def _test(name: str, variables: list[str]) -> Callable[[World, Bindings], bool]:
    if name in PROPERTIES:
        members, only = PROPERTIES[name].members, variables[0]
        return lambda world, bindings: bool(members(world) >> bindings[only] & 1)
    firsts, (first, second) = RELATIONS[name].firsts, variables
    return lambda world, bindings: bool(firsts(world, bindings[second]) >> bindings[first] & 1)


def _all_of(tests: list[Callable[[World, Bindings], bool]]) -> Callable[[World, Bindings], bool]:
    if len(tests) == 1:
        return tests[0]
    return lambda world, bindings: all(test(world, bindings) for test in tests)


def _filter(test: Callable[[World, Bindings], bool]) -> Step:
    def step(world: World, bindings: Bindings) -> Iterator[Bindings]:
        if test(world, bindings):
            yield bindings

    return step


def _search(name: str, variables: list[str], known: dict[str, str]) -> Step:
    """Bind the unbound variables, in rising order of the first, then of the second."""
    if name in PROPERTIES:
        members = PROPERTIES[name].members
        return _bind(variables[0], PROPERTIES[name].type, known, lambda world, bindings: members(world))
    (type1, type2), firsts, seconds = RELATIONS[name]
    first, second = variables
    if second in known:
        return _bind(first, type1, known, lambda world, bindings: firsts(world, bindings[second]))
    bind_second = _bind(
        second, type2, {**known, first: type1}, lambda world, bindings: seconds(world, bindings[first])
    )
    if first in known:
        return bind_second
    everything = _bind(first, type1, known, lambda world, bindings: (1 << len(world.names[type1])) - 1)
    return _chain([everything, bind_second])


def _bind(
    variable: str, type_: str, known: dict[str, str], reached: Callable[[World, Bindings], int]
) -> Step:
    rivals = [other for other, other_type in known.items() if other_type == type_]

    def step(world: World, bindings: Bindings) -> Iterator[Bindings]:
        taken = [bindings[rival] for rival in rivals]
        for number in bits(reached(world, bindings)):
            if number not in taken:
                yield {**bindings, variable: number}

    return step


def _chain(steps: list[Step]) -> Step:
    if len(steps) == 1:
        return steps[0]
    first, rest = steps[0], _chain(steps[1:])

    def step(world: World, bindings: Bindings) -> Iterator[Bindings]:
        for answer in first(world, bindings):
            yield from rest(world, answer)

    return step
