"""Turn a PDDL problem into the household of a game: names, receptacles, items and goal."""

from collections import Counter
from dataclasses import replace
from typing import Any

from stepopsd_envs.alfworld.goals import read_goal
from stepopsd_envs.alfworld.model import Item, Receptacle
from stepopsd_envs.alfworld.pddl import PddlError, Problem
from stepopsd_envs.alfworld.rules import CURRENT_RULES, Rules

_ABILITIES = ("pickupable", "cleanable", "heatable", "coolable", "sliceable", "toggleable")
_STATES = {"isclean": "clean", "ishot": "hot", "iscool": "cool", "issliced": "sliced", "istoggled": "toggled"}
_SIGNATURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys([*_ABILITIES, *_STATES, "isreceptacleobject"], ("object",)),
    **dict.fromkeys(["openable", "opened"], ("receptacle",)),
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "inreceptacle": ("object", "receptacle"),
    "inreceptacleobject": ("object", "object"),
    "receptacletype": ("receptacle", "rtype"),
    "objecttype": ("object", "otype"),
    "cancontain": ("rtype", "otype"),
    # No action and no text uses these.
    **dict.fromkeys(["ison", "moveable", "isreceptacleobjectfull"], ("object",)),
    **dict.fromkeys(["full", "checked"], ("receptacle",)),
    "examined": ("location",),
    "wasinreceptacle": ("object", "receptacle"),
}
_TYPES = frozenset(("agent", "location", "receptacle", "object", "rtype", "otype"))
_CURRENT = (CURRENT_RULES.clean_in, CURRENT_RULES.heat_in, CURRENT_RULES.cool_in, CURRENT_RULES.slice_with)
_RULE_TYPES = {name.lower(): name for kinds in _CURRENT for name in kinds}  # a house may lack these types


def build_household(problem: Problem, rules: Rules) -> dict[str, Any]:
    """The fields of a `Game` that a problem defines.

    Raises:
        PddlError: a fact or type of the problem cannot be played.
    """
    _check_facts(problem)
    things = sorted({thing for facts in problem.facts.values() for fact in facts for thing in fact})
    numbers = {
        kind: _numbered(things, problem.types, kind) for kind in ("agent", "location", "receptacle", "object")
    }
    names = demangled_names(things)
    starts = problem.facts.get("atlocation", [])
    if len(starts) != 1 or len(numbers["agent"]) != 1:
        raise PddlError(":init", f"expected one agent at one place, got {len(starts)}")
    reader = _Reader(problem, numbers, names)
    return {
        "receptacles": tuple(reader.receptacle(thing) for thing in numbers["receptacle"]),
        "items": tuple(reader.item(thing) for thing in numbers["object"]),
        "can_contain": frozenset(
            (reader.type_name(outer), reader.type_name(inner))
            for outer, inner in problem.facts.get("cancontain", [])
        ),
        "location_names": tuple(names[thing] for thing in numbers["location"]),
        "start_location": numbers["location"][starts[0][1]],
        "win": read_goal(problem.goal, reader.type_name),
        "rules": replace(
            rules,
            clean_in=frozenset(map(reader.type_name, rules.clean_in)),
            heat_in=frozenset(map(reader.type_name, rules.heat_in)),
            cool_in=frozenset(map(reader.type_name, rules.cool_in)),
            slice_with=frozenset(map(reader.type_name, rules.slice_with)),
        ),
    }


def demangled_names(things: list[str]) -> dict[str, str]:
    """The names in commands: the kind of thing and a number; numbers fall in the order of the ids.

    "drawer_bar__plus_00..." is a "drawer"; an id that contains "basin" is the basin of its kind. If an id has
    no position ("_bar_"), the name has a blank instead of a number, as in the original.
    """
    kinds = {thing: _kind(thing) for thing in things}
    left = Counter(kinds.values())
    names = {}
    for thing in sorted(things):
        kind = kinds[thing]
        names[thing] = f"{kind} {left[kind] if '_bar_' in thing else ''}"
        left[kind] -= 1
    return names


def _kind(thing: str) -> str:
    kind, bar, _ = thing.partition("_bar_")
    if not bar:
        for code, char in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
            kind = kind.replace(code, char)
        return kind
    return kind + "basin" if "basin" in thing else kind


def _check_facts(problem: Problem) -> None:
    unknown = sorted(set(problem.types.values()) - _TYPES)
    if unknown:
        raise PddlError(":objects", f"things of type {unknown[0]!r} cannot be played")
    for predicate, facts in problem.facts.items():
        signature = _SIGNATURES.get(predicate)
        if signature is None:
            raise PddlError(":init", f"facts {predicate[:40]!r} cannot be played")
        for fact in facts:
            if tuple(problem.types.get(thing) for thing in fact) != signature:
                text = " ".join((predicate, *fact))
                raise PddlError(
                    ":init", f"fact ({text[:120]}) is not about declared things of types {signature}"
                )


def _numbered(things: list[str], types: dict[str, str], kind: str) -> dict[str, int]:
    return {thing: number for number, thing in enumerate(thing for thing in things if types[thing] == kind)}


class _Reader:
    """Looks up the facts of a problem by thing."""

    def __init__(self, problem: Problem, numbers: dict[str, dict[str, int]], names: dict[str, str]) -> None:
        self._numbers, self._names, self._spelling = numbers, names, problem.spelling
        self._partners: dict[str, dict[str, list[str]]] = {}
        for predicate, facts in problem.facts.items():
            partners = self._partners.setdefault(predicate, {})
            for first, *second in facts:
                partners.setdefault(first, []).extend(second)
        self._contents: dict[str, list[str]] = {}
        for thing, vessel in problem.facts.get("inreceptacleobject", []):
            self._contents.setdefault(vessel, []).append(thing)

    def _has(self, predicate: str, thing: str) -> bool:
        return thing in self._partners.get(predicate, ())

    def _partner_numbers(self, predicate: str, thing: str, kind: str) -> tuple[int, ...]:
        partners = self._partners.get(predicate, {}).get(thing, ())
        return tuple(sorted({self._numbers[kind][partner] for partner in partners}))

    def type_name(self, type_: str) -> str:
        """A type in the spelling of the file: "sinkbasintype" and "sinkbasin" give "SinkBasin"."""
        whole = type_ if type_.endswith("type") else type_ + "type"
        if whole in self._spelling:
            return self._spelling[whole][: -len("type")]
        return _RULE_TYPES.get(type_, type_)

    def _type(self, predicate: str, thing: str) -> str:
        types = sorted(set(self._partners.get(predicate, {}).get(thing, ())))
        if len(types) > 1:
            raise PddlError(":init", f"{thing} has {len(types)} types, expected one")
        return self.type_name(types[0]) if types else ""

    def receptacle(self, thing: str) -> Receptacle:
        """The receptacle with this id."""
        places = self._partner_numbers("receptacleatlocation", thing, "location")
        if len(places) != 1:
            raise PddlError(":init", f"receptacle {thing} is at {len(places)} places, expected one")
        flags = {"openable": self._has("openable", thing), "opened": self._has("opened", thing)}
        return Receptacle(self._names[thing], self._type("receptacletype", thing), places[0], **flags)

    def item(self, thing: str) -> Item:
        """The item with this id."""
        flags = {name: True for name in _ABILITIES if self._has(name, thing)}
        flags |= {name: True for predicate, name in _STATES.items() if self._has(predicate, thing)}
        return Item(
            self._names[thing],
            self._type("objecttype", thing),
            self._partner_numbers("inreceptacle", thing, "receptacle"),
            self._partner_numbers("objectatlocation", thing, "location"),
            **flags,
            vessel=self._has("isreceptacleobject", thing),
            contents=tuple(sorted(self._numbers["object"][inner] for inner in self._contents.get(thing, ()))),
        )
