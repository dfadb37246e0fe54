"""Read a PDDL domain: its actions must be those of the engine, except for the rules that vary by release."""

from functools import lru_cache

from stepopsd_envs.alfworld.pddl import PddlError, Tree, parse, typed_list
from stepopsd_envs.alfworld.rules import Rules

Canonical = str | tuple["Canonical", ...]

_AGENT, _PLACE, _ITEM, _RECEPTACLE = "?a - agent", " ?l - location", " ?o - object", " ?r - receptacle"
_HERE = "(atLocation ?a ?l) (receptacleAtLocation ?r ?l)"
_ACCESSIBLE = "(or (not (openable ?r)) (opened ?r))"
# The official files have this comma. No thing has type "location,", so only a held item can be examined.
_WITHIN = f"(exists (?l - location, ?r - receptacle) (and {_HERE} (inReceptacle ?o ?r) {_ACCESSIBLE}))"
_FITS = "(objectType ?o ?ot) (receptacleType ?r ?rt) (canContain ?rt ?ot)"
_SWITCHED = "(isToggled ?o) (when (isOn ?o) (not (isOn ?o))) (when (not (isOn ?o)) (isOn ?o))"
_PUT_DOWN = "(inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o)) (not (holdsAny ?a))"
_PICKED_UP = "(not (inReceptacle ?o ?r)) (holds ?a ?o) (holdsAny ?a) (not (objectAtLocation ?o ?l))"
_ALL = _AGENT + _PLACE + _ITEM + _RECEPTACLE
_ALL_CLOSED = "(forall (?re - receptacle) (not (opened ?re)))"

# Name: variants of (parameters, conditions, effects). (kind ?x): ?x has one of the types that a domain names.
ACTIONS = {
    "look": [(_AGENT + _PLACE, "(atLocation ?a ?l)", "(checked ?l)")],
    "inventory": [(_AGENT, "", "(checked ?a)")],
    "help": [(_AGENT, "", "(checked ?a)")],
    "examineReceptacle": [(_AGENT + _RECEPTACLE, f"(exists (?l - location) (and {_HERE}))", "(checked ?r)")],
    "examineObject": [(_AGENT + _ITEM, f"(or {_WITHIN} (holds ?a ?o))", "(checked ?o)")],
    "GotoLocation": [
        (
            f"{_AGENT} ?lStart - location ?lEnd - location{_RECEPTACLE}",
            "(atLocation ?a ?lStart) (receptacleAtLocation ?r ?lEnd)",
            "(not (atLocation ?a ?lStart)) (atLocation ?a ?lEnd)",
        )
    ],
    "OpenObject": [
        (_AGENT + _PLACE + _RECEPTACLE, f"(openable ?r) {_HERE} {closed}", "(opened ?r) (checked ?r)")
        for closed in ("(not (opened ?r))", _ALL_CLOSED)
    ],
    "CloseObject": [
        (_AGENT + _PLACE + _RECEPTACLE, f"(openable ?r) {_HERE} (opened ?r)", "(not (opened ?r))")
    ],
    "PickupObject": [
        (_ALL, f"(pickupable ?o) {_HERE} (inReceptacle ?o ?r) (not (holdsAny ?a)) {_ACCESSIBLE}", _PICKED_UP)
    ],
    "PutObject": [
        (f"{_ALL} ?ot - otype ?rt - rtype", f"(holds ?a ?o) {_HERE} {_ACCESSIBLE} {_FITS}", _PUT_DOWN)
    ],
    "CleanObject": [(_ALL, f"(cleanable ?o) (kind ?r) {_HERE} (holds ?a ?o)", "(isClean ?o)")],
    "HeatObject": [(_ALL, f"(heatable ?o) (kind ?r) {_HERE} (holds ?a ?o)", "(isHot ?o) (not (isCool ?o))")],
    "CoolObject": [(_ALL, f"(coolable ?o) (kind ?r) {_HERE} (holds ?a ?o)", "(isCool ?o) (not (isHot ?o))")],
    "ToggleObject": [
        (_ALL, f"(toggleable ?o) {_HERE} (inReceptacle ?o ?r)", _SWITCHED),
        (_AGENT + _PLACE + _ITEM, "(toggleable ?o) (atLocation ?a ?l) (objectAtLocation ?o ?l)", _SWITCHED),
    ],
    "SliceObject": [
        (
            f"{_AGENT}{_PLACE} ?co - object ?ko - object",
            "(sliceable ?co) (kind ?ko) (atLocation ?a ?l) (objectAtLocation ?co ?l) (holds ?a ?ko)",
            "(isSliced ?co)",
        )
    ],
}


@lru_cache(maxsize=16)
def read_domain(text: str) -> Rules:
    """Read the rules of a domain, with types in lower case.

    Raises:
        PddlError: the domain cannot be read, or has actions or sections that cannot be played.
    """
    known = _known_actions()
    actions: dict[str, tuple[int, frozenset[str]]] = {}  # name: variant, types that it names
    for section in parse(text, ""):
        match section:
            case [":action", str(name), *_]:
                actions[name] = _recognise(name, section, known)
            case [":derived" | ":constants" | ":durative-action" as keyword, *_]:
                raise PddlError(str(keyword), "sections of this kind cannot be played")
    missing = sorted(set(known) - set(actions) - {"help"})
    if missing:
        raise PddlError(f"action {missing[0]}", f"missing; the domain has to define {', '.join(missing)}")
    return Rules(
        clean_in=actions["cleanobject"][1],
        heat_in=actions["heatobject"][1],
        cool_in=actions["coolobject"][1],
        slice_with=actions["sliceobject"][1],
        help="help" in actions,
        one_open=actions["openobject"][0] == 1,
        toggle_by_location=actions["toggleobject"][0] == 1,
    )


@lru_cache(maxsize=1)
def _known_actions() -> dict[str, list[Canonical]]:
    return {
        name.lower(): [_action(*(parse(f"({part})", name) for part in variant)) for variant in variants]
        for name, variants in ACTIONS.items()
    }


def _recognise(name: str, section: Tree, known: dict[str, list[Canonical]]) -> tuple[int, frozenset[str]]:
    """The index of the variant of a known action, and the types (without "type") that the action names."""
    where = f"action {name}"
    parts = {
        key: value for key, value in zip(section[2::2], section[3::2], strict=False) if isinstance(key, str)
    }
    trees = [parts.get(f":{key}", []) for key in ("parameters", "precondition", "effect")]
    parameters, precondition, effect = (tree if isinstance(tree, list) else [] for tree in trees)
    kinds: set[str] = set()
    action = _action(parameters, [_without_types(precondition, kinds)], [effect])
    if name not in known:
        raise PddlError(where, f"not an action that can be played; known are {', '.join(sorted(known))}")
    if action not in known[name]:
        raise PddlError(where, "its parameters, conditions or effects are not those of the official games")
    return known[name].index(action), frozenset(kind.removesuffix("type") for kind in kinds)


def _without_types(tree: Tree, kinds: set[str]) -> Tree:
    """The tree with (kind ?x) in place of every condition on a type; the types are added to `kinds`."""
    match tree:
        case ["receptacletype" | "objecttype", str(variable), str(type_)] if not type_.startswith("?"):
            kinds.add(type_)
            return ["kind", variable]
    return [_without_types(part, kinds) if isinstance(part, list) else part for part in tree]


def _action(parameters: Tree, conditions: Tree, effects: Tree) -> Canonical:
    return (_variables(parameters), _canonical(["and", *conditions]), _canonical(["and", *effects]))


def _variables(tree: Tree) -> Canonical:
    names, types = typed_list([word for word in tree if isinstance(word, str)], "parameters")
    return tuple(sorted(zip(names, types, strict=True)))


def _canonical(tree: Tree | str) -> Canonical:
    """Normal form of a tree: order, nesting and repetition within `and` and `or` do not change it."""
    match tree:
        case str():
            return tree
        case ["and" | "or" as operator, *parts]:
            flat: set[Canonical] = set()
            for part in map(_canonical, parts):
                flat |= set(part[1:]) if part and part[0] == operator else {part} - {()}
            return flat.pop() if len(flat) == 1 else (str(operator), *sorted(flat, key=repr))
        case ["increase", *_]:
            return ()
        case ["exists" | "forall" as quantifier, list(variables), *body]:
            return (str(quantifier), _variables(variables), *map(_canonical, body))
    return tuple(map(_canonical, tree))
