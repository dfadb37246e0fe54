"""Write a game as the three texts of the official format: domain, grammar and problem."""

import json
import re
from collections.abc import Iterator
from typing import Any

from stepopsd_envs.alfworld.domain import ACTIONS
from stepopsd_envs.alfworld.grammar import TASK_PREFIX
from stepopsd_envs.alfworld.model import Game, Item, Receptacle
from stepopsd_envs.alfworld.rules import Goal, Rules

_PREDICATES = """
  (atLocation ?a - agent ?l - location) (receptacleAtLocation ?r - receptacle ?l - location)
  (objectAtLocation ?o - object ?l - location) (inReceptacle ?o - object ?r - receptacle)
  (isReceptacleObject ?o - object) (inReceptacleObject ?inner - object ?outer - object)
  (receptacleType ?r - receptacle ?t - rtype) (objectType ?o - object ?t - otype)
  (canContain ?r - rtype ?o - otype) (openable ?r - receptacle) (opened ?r - receptacle)
  (holds ?a - agent ?o - object) (holdsAny ?a - agent) (checked ?r - receptacle)
  (pickupable ?o - object) (cleanable ?o - object) (isClean ?o - object)
  (heatable ?o - object) (isHot ?o - object) (coolable ?o - object) (isCool ?o - object)
  (sliceable ?o - object) (isSliced ?o - object)
  (toggleable ?o - object) (isToggled ?o - object) (isOn ?o - object)
"""
_STATES = {"clean": "isClean", "hot": "isHot", "cool": "isCool", "sliced": "isSliced", "toggled": "isToggled"}
_ABLE = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}
_NAME = re.compile(r"([a-z][a-z0-9]*) ([1-9][0-9]*|)")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def domain_text(rules: Rules) -> str:
    """The PDDL domain with these rules: the actions that the engine plays."""
    variants = {"OpenObject": int(rules.one_open), "ToggleObject": int(rules.toggle_by_location)}
    types = {
        "CleanObject": rules.clean_in,
        "HeatObject": rules.heat_in,
        "CoolObject": rules.cool_in,
        "SliceObject": rules.slice_with,
    }
    actions = []
    for name, texts in ACTIONS.items():
        parameters, conditions, effects = texts[variants.get(name, 0)]
        if name in types:
            conditions = _with_types(conditions, sorted(types[name]))
        if name != "help" or rules.help:
            condition = f"(and {conditions})" if conditions else "()"
            actions.append(f"(:action {name}\n  :parameters ({parameters})")
            actions.append(f"  :precondition {condition}\n  :effect (and {effects}))")
    head = "(define (domain household)\n(:requirements :adl :typing)"
    kinds = "(:types agent location receptacle object rtype otype)"
    return "\n".join([head, kinds, f"(:predicates{_PREDICATES})", *actions, ")", ""])


def grammar_text(game: Game) -> str:
    """The texts of a game in the notation of ALFWorld's grammar."""
    rules: dict[str, Any] = {"task": [{"rhs": TASK_PREFIX + game.goal}]}
    for symbol, alternatives in game.wording.rules:
        rules[symbol] = [
            {"condition": condition, "rhs": text} if condition else {"rhs": text}
            for condition, text in alternatives
        ]
    actions = [
        f'action {name} {{\n    template :: "{command}";\n    feedback :: "{feedback}";\n}}\n'
        for name, command, feedback in game.wording.actions
    ]
    return "\n".join([f'grammar :: """\n{json.dumps(rules, indent=4)}\n""";\n', *actions])


def problem_text(game: Game) -> str:
    """The PDDL problem: household and goal.

    Raises:
        ValueError: a name or type cannot be written in PDDL.
    """
    ids = _ids(game)
    objects = ["agent1 - agent", *_types(game)]
    objects += [f"{ids[name]} - location" for name in game.location_names]
    objects += [f"{ids[receptacle.name]} - receptacle" for receptacle in game.receptacles]
    objects += [f"{ids[item.name]} - object" for item in game.items]
    sections = [
        "(define (problem game)\n(:domain household)",
        "(:objects\n  " + "\n  ".join(objects) + "\n)",
        "(:init\n  " + "\n  ".join(_facts(game, ids)) + "\n)",
        f"(:goal {_goal(game.win)})\n)\n",
    ]
    return "\n".join(sections)


def _with_types(conditions: str, types: list[str]) -> str:
    """The conditions with (kind ...) replaced: ?r, or the slicing ?ko, has one of these types."""
    predicate, variable = ("objectType", "?ko") if "?ko" in conditions else ("receptacleType", "?r")
    choices = " ".join(f"({predicate} {variable} {_type(name)})" for name in types)
    return conditions.replace(f"(kind {variable})", f"(or {choices})")


def _type(name: str) -> str:
    if not _WORD.fullmatch(name):
        raise ValueError(f"the type {name!r} has no PDDL name: use only letters and digits")
    return f"{name}Type"


def _ids(game: Game) -> dict[str, str]:
    """The id of each thing by its name; ids sort in the order of the things and give the names back.

    A reader of the file numbers the things of a kind itself, with numbers that fall in the order of the ids.
    """
    receptacles, items = ([thing.name for thing in things] for things in (game.receptacles, game.items))
    kinds = (receptacles, items, game.location_names)
    return {name: _id(name, place) for names in kinds for place, name in enumerate(names)}


def _id(name: str, place: int) -> str:
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f"the name {name!r} has no PDDL id: use a word and a number, such as 'mug 1'")
    kind, number = match.groups()
    if not number:
        return kind
    base = kind.removesuffix("basin")
    return f"{base}_bar_{place:04d}" + (f"_bar_{kind}" if base != kind else "")


def _types(game: Game) -> Iterator[str]:
    """Declarations of the types of receptacles and items, each once, as PDDL requires."""
    rules, win = game.rules, game.win
    receptacles = {receptacle.type for receptacle in game.receptacles}
    receptacles |= {receptacle for receptacle, _ in game.can_contain}
    items = {item.type for item in game.items} | {item for _, item in game.can_contain}
    receptacles, items = (
        (receptacles | {win.receptacle_type}) - {""},
        (items | {win.item_type, win.lamp_type}) - {""},
    )
    if receptacles & items:
        both = ", ".join(sorted(receptacles & items))
        raise ValueError(
            f"{both}: a type of both receptacles and items; PDDL needs different names: rename one of them"
        )
    # The rules may name types that the house lacks, and some sinks are items.
    receptacles |= (rules.clean_in | rules.heat_in | rules.cool_in) - items
    items |= rules.slice_with - receptacles
    yield from (f"{_type(name)} - rtype" for name in sorted(receptacles))
    yield from (f"{_type(name)} - otype" for name in sorted(items))


def _facts(game: Game, ids: dict[str, str]) -> Iterator[str]:
    places = [ids[name] for name in game.location_names]
    yield f"(atLocation agent1 {places[game.start_location]})"
    yield from (f"(canContain {_type(outer)} {_type(inner)})" for outer, inner in sorted(game.can_contain))
    for receptacle in game.receptacles:
        yield from _receptacle_facts(receptacle, ids[receptacle.name], places)
    receptacles, items = ([ids[thing.name] for thing in kind] for kind in (game.receptacles, game.items))
    for item, name in zip(game.items, items, strict=True):
        yield from _item_facts(item, name)
        yield from (f"(inReceptacle {name} {receptacles[number]})" for number in item.receptacles)
        yield from (f"(objectAtLocation {name} {places[number]})" for number in item.locations)
        yield from (f"(inReceptacleObject {items[number]} {name})" for number in item.contents)


def _receptacle_facts(receptacle: Receptacle, name: str, places: list[str]) -> Iterator[str]:
    yield f"(receptacleAtLocation {name} {places[receptacle.location]})"
    if receptacle.type:
        yield f"(receptacleType {name} {_type(receptacle.type)})"
    if receptacle.openable:
        yield f"(openable {name})"
    if receptacle.opened:
        yield f"(opened {name})"


def _item_facts(item: Item, name: str) -> Iterator[str]:
    flags = {
        "pickupable": item.pickupable,
        "cleanable": item.cleanable,
        "heatable": item.heatable,
        "coolable": item.coolable,
        "sliceable": item.sliceable,
        "toggleable": item.toggleable,
        "isClean": item.clean,
        "isHot": item.hot,
        "isCool": item.cool,
        "isSliced": item.sliced,
        "isToggled": item.toggled,
        "isReceptacleObject": item.vessel,
    }
    if item.type:
        yield f"(objectType {name} {_type(item.type)})"
    yield from (f"({flag} {name})" for flag, holds in flags.items() if holds)


def _goal(win: Goal) -> str:
    conditions = [_goal_in_light(win) if win.lamp_type else _goal_placed(win)]
    if win.all_closed:
        conditions.append("(forall (?re - receptacle) (not (opened ?re)))")
    return f"(and {' '.join(conditions)})"


def _goal_placed(win: Goal) -> str:
    items = [f"?o{number}" for number in range(win.count)]
    parts = [f"(receptacleType ?r {_type(win.receptacle_type)})"]
    for number, item in enumerate(items):
        parts += [f"(objectType {item} {_type(win.item_type)})", f"(inReceptacle {item} ?r)"]
        parts += [f"({_ABLE[state]} {item}) ({_STATES[state]} {item})" for state in win.states]
        parts += [f"(not (= {item} {other}))" for other in items[:number]]
    variables = " ".join(f"{item} - object" for item in items)
    return f"(exists (?r - receptacle {variables}) (and {' '.join(parts)}))"


def _goal_in_light(win: Goal) -> str:
    lamp = f"(objectType ?lamp {_type(win.lamp_type)}) (toggleable ?lamp) (isToggled ?lamp)"
    here = "(inReceptacle ?lamp ?r) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)"
    lit = f"(exists (?lamp - object ?r - receptacle ?a - agent ?l - location) (and {lamp} {here}))"
    held = f"(exists (?o - object ?a - agent) (and (objectType ?o {_type(win.item_type)}) (holds ?a ?o)))"
    return f"{lit} {held}"
