"""Read the goal of a PDDL problem; goals of another form than the official ones are refused."""

from collections.abc import Callable, Iterator

from stepopsd_envs.alfworld.pddl import PddlError, Tree
from stepopsd_envs.alfworld.rules import Goal

Atom = tuple[str, ...]

_STATES = {"isclean": "clean", "ishot": "hot", "iscool": "cool", "issliced": "sliced"}
_ABILITIES = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}
_FORM = (
    "a goal of this form cannot be played; official goals put one or two items into a receptacle, "
    "or hold an item in the light of a lamp"
)


def read_goal(tree: Tree, type_name: Callable[[str], str]) -> Goal:
    """Read the goal; `type_name` gives the display form of a type ("mugtype" -> "Mug").

    Raises:
        PddlError: the goal has another form than the official ones.
    """
    atoms = set(_atoms(tree))
    goal, expected = _in_light(atoms) if any(atom[0] == "holds" for atom in atoms) else _placed(atoms)
    all_closed = ("all closed",) in atoms
    if atoms - {("all closed",)} != expected:
        raise PddlError(":goal", _FORM)
    item_type, receptacle_type, lamp_type = map(
        type_name, (goal.item_type, goal.receptacle_type, goal.lamp_type)
    )
    return Goal(item_type, receptacle_type, goal.count, goal.states, lamp_type, all_closed)


def _atoms(tree: Tree) -> Iterator[Atom]:
    """The conjuncts of the goal, without their quantifiers."""
    match tree:
        case ["and", *parts] | ["exists", [*_], *parts]:
            for part in parts:
                if isinstance(part, list):
                    yield from _atoms(part)
        case ["forall", [variable, "-", "receptacle"], ["not", ["opened", other]]] if variable == other:
            yield ("all closed",)
        case ["not", ["=", str(left), str(right)]]:
            yield ("differ", *sorted((left, right)))
        case [*words] if all(isinstance(word, str) for word in words) and words:
            yield tuple(word for word in words if isinstance(word, str))
        case _:
            raise PddlError(":goal", _FORM)


def _types(atoms: set[Atom], predicate: str) -> dict[str, str]:
    return {atom[1]: atom[2] for atom in sorted(atoms) if atom[0] == predicate and len(atom) == 3}


def _placed(atoms: set[Atom]) -> tuple[Goal, set[Atom]]:
    """The goal of one or more items in one receptacle, and the conditions that express it."""
    items, receptacles = _types(atoms, "objecttype"), _types(atoms, "receptacletype")
    if not items or len(receptacles) != 1 or len(set(items.values())) != 1:
        raise PddlError(":goal", _FORM)
    (receptacle, receptacle_type), item_type = next(iter(receptacles.items())), next(iter(items.values()))
    states = tuple(state for predicate, state in _STATES.items() if (predicate, next(iter(items))) in atoms)
    expected: set[Atom] = {("receptacletype", receptacle, receptacle_type)}
    for item in items:
        expected |= {("objecttype", item, item_type), ("inreceptacle", item, receptacle)}
        expected |= {(predicate, item) for predicate, state in _STATES.items() if state in states}
        expected |= {(_ABILITIES[state], item) for state in states}
        expected |= {("differ", *sorted((item, other))) for other in items if other != item}
    return Goal(item_type, receptacle_type, len(items), states), expected


def _in_light(atoms: set[Atom]) -> tuple[Goal, set[Atom]]:
    """The goal of an item held in the light of a lamp, and the conditions that express it."""
    items = _types(atoms, "objecttype")
    held = {atom[-1] for atom in atoms if atom[0] == "holds"}
    lamps = set(items) - held
    if len(held) != 1 or len(lamps) != 1 or not held <= set(items):
        raise PddlError(":goal", _FORM)
    (item,), (lamp,) = held, lamps
    expected: set[Atom] = {
        ("objecttype", item, items[item]),
        ("holds", "?a", item),
        ("objecttype", lamp, items[lamp]),
    }
    expected |= {("toggleable", lamp), ("istoggled", lamp), ("inreceptacle", lamp, "?r")}
    expected |= {("receptacleatlocation", "?r", "?l"), ("atlocation", "?a", "?l")}
    return Goal(items[item], lamp_type=items[lamp]), expected
