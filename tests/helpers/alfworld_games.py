"""A small household for tests: built directly, and written as a file of the official format."""

import json
from pathlib import Path
from typing import Any

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import Game, Goal, Item, Receptacle

COUNTER, CABINET, FRIDGE, MICROWAVE, SINK, TABLE, MIDDLE = range(7)

RECEPTACLES = (
    Receptacle("cabinet 1", "Cabinet", CABINET, openable=True),
    Receptacle("countertop 1", "CounterTop", COUNTER),
    Receptacle("fridge 1", "Fridge", FRIDGE, openable=True),
    Receptacle("microwave 1", "Microwave", MICROWAVE, openable=True),
    Receptacle("shelf 1", "Shelf", COUNTER),  # reached from where the countertop is
    Receptacle("sidetable 1", "SideTable", TABLE),
    Receptacle("sinkbasin 1", "SinkBasin", SINK),
)
ITEMS = (
    Item("apple 1", "Apple", (2,), (FRIDGE,), pickupable=True, heatable=True, coolable=True, sliceable=True),
    Item("bowl 1", "Bowl", (1,), (COUNTER,), pickupable=True, vessel=True, contents=(4,)),
    Item("desklamp 1", "DeskLamp", (5,), (TABLE,), toggleable=True),
    Item("knife 1", "Knife", (1,), (COUNTER,), pickupable=True, cleanable=True),
    Item("mug 2", "Mug", (0,), (CABINET,), pickupable=True, cleanable=True, heatable=True, coolable=True),
    Item("mug 1", "Mug", (1,), (COUNTER,), pickupable=True, cleanable=True, heatable=True, coolable=True),
    Item("window 1", "Window", (), (COUNTER,)),
)
CAN_CONTAIN = frozenset(
    [(place.type, thing) for place in RECEPTACLES for thing in ("Apple", "Knife", "Mug")]
    + [("CounterTop", "Bowl")]
) - {("Shelf", "Apple")}


def kitchen(**changes: Any) -> Game:
    """The household; by default the task is to put a mug on the shelf."""
    fields: dict[str, Any] = {
        "task_id": "test/kitchen/1",
        "task_type": "pick_and_place_simple",
        "goal": "put a mug in shelf.",
        "receptacles": RECEPTACLES,
        "items": ITEMS,
        "can_contain": CAN_CONTAIN,
        "location_names": tuple(f"loc {7 - place}" for place in range(7)),
        "start_location": MIDDLE,
        "win": Goal("Mug", "Shelf"),
    }
    return Game(**(fields | changes))


def started(game: Game | None = None, *commands: str) -> Engine:
    """An engine after a reset and some commands, all of which have to be admissible."""
    engine = Engine(game or kitchen())
    engine.reset()
    for command in commands:
        assert command in engine.admissible_commands(), command
        engine.step(command)
    return engine


DOMAIN = """
; a domain of the same actions as the official one
(define (domain household)
 (:requirements :adl :typing)
 (:types agent location receptacle object rtype otype)
 (:action look :parameters (?a - agent ?l - location)
  :precondition (atLocation ?a ?l) :effect (checked ?l))
 (:action inventory :parameters (?a - agent) :precondition () :effect (and (checked ?a)))
 (:action help :parameters (?a - agent) :precondition () :effect (and (checked ?a)))
 (:action examineReceptacle :parameters (?a - agent ?r - receptacle)
  :precondition (exists (?l - location) (and (receptacleAtLocation ?r ?l) (atLocation ?a ?l)))
  :effect (checked ?r))
 (:action examineObject :parameters (?a - agent ?o - object)
  :precondition (or (holds ?a ?o) (exists (?l - location, ?r - receptacle) (and
    (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
    (or (opened ?r) (not (openable ?r))))))
  :effect (checked ?o))
 (:action GotoLocation :parameters (?a - agent ?lStart - location ?lEnd - location ?r - receptacle)
  :precondition (and (atLocation ?a ?lStart) (receptacleAtLocation ?r ?lEnd))
  :effect (and (not (atLocation ?a ?lStart)) (atLocation ?a ?lEnd) (increase (total-cost) 1)))
 (:action OpenObject :parameters (?a - agent ?l - location ?r - receptacle)
  :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (not (opened ?r)))
  :effect (and (opened ?r) (checked ?r)))
 (:action CloseObject :parameters (?a - agent ?l - location ?r - receptacle)
  :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (opened ?r))
  :effect (not (opened ?r)))
 (:action PickupObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
  :precondition (and (pickupable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
    (not (holdsAny ?a)) (or (not (openable ?r)) (opened ?r)))
  :effect (and (not (inReceptacle ?o ?r)) (holds ?a ?o) (holdsAny ?a) (not (objectAtLocation ?o ?l))))
 (:action PutObject
  :parameters (?a - agent ?l - location ?o - object ?r - receptacle ?ot - otype ?rt - rtype)
  :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (objectType ?o ?ot)
    (or (not (openable ?r)) (opened ?r)) (receptacleType ?r ?rt) (canContain ?rt ?ot))
  :effect (and (inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o)) (not (holdsAny ?a))))
 (:action CleanObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
  :precondition (and (cleanable ?o) (receptacleType ?r SinkBasinType)
    (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
  :effect (isClean ?o))
 (:action HeatObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
  :precondition (and (heatable ?o) (or (receptacleType ?r MicrowaveType) (receptacleType ?r StoveType))
    (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
  :effect (and (isHot ?o) (not (isCool ?o))))
 (:action CoolObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
  :precondition (and (coolable ?o) (receptacleType ?r FridgeType)
    (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
  :effect (and (isCool ?o) (not (isHot ?o))))
 (:action ToggleObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
  :precondition (and (toggleable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r))
  :effect (and (when (isOn ?o) (not (isOn ?o))) (when (not (isOn ?o)) (isOn ?o)) (isToggled ?o)))
 (:action SliceObject :parameters (?a - agent ?l - location ?co - object ?ko - object)
  :precondition (and (sliceable ?co) (or (objectType ?ko KnifeType) (objectType ?ko ButterKnifeType))
    (atLocation ?a ?l) (objectAtLocation ?co ?l) (holds ?a ?ko))
  :effect (isSliced ?co)))
"""

PROBLEM = """
(define (problem small) (:domain household)
(:objects agent1 - agent  Curtains - object
  MugType AppleType KnifeType - otype  ShelfType - rtype
  SinkBasinType - rtype
  Mug_bar_01 - object Mug_bar_02 - object Knife_bar_07 - object
  Shelf_bar_01 - receptacle Sink_bar_03_bar_SinkBasin - receptacle
  loc_bar_1 loc_bar_2 loc_bar_3 - location)
(:init
  (receptacleType Shelf_bar_01 ShelfType) (receptacleType Sink_bar_03_bar_SinkBasin SinkBasinType)
  (objectType Mug_bar_01 MugType) (objectType Mug_bar_02 MugType) (objectType Knife_bar_07 KnifeType)
  (canContain ShelfType MugType) (canContain ShelfType MugType) (canContain SinkBasinType KnifeType)
  (pickupable Mug_bar_01) (pickupable Mug_bar_02) (pickupable Knife_bar_07) (cleanable Mug_bar_01)
  (isCool Mug_bar_02) (openable Shelf_bar_01) (opened Shelf_bar_01) ; (opened Sink_bar_03_bar_SinkBasin)
  (isReceptacleObject Mug_bar_01) (inReceptacleObject Knife_bar_07 Mug_bar_01)
  (receptacleAtLocation Shelf_bar_01 loc_bar_1) (receptacleAtLocation Sink_bar_03_bar_SinkBasin loc_bar_2)
  (inReceptacle Mug_bar_01 Shelf_bar_01) (inReceptacle Mug_bar_02 Sink_bar_03_bar_SinkBasin)
  (inReceptacle Knife_bar_07 Shelf_bar_01)
  (inReceptacle Knife_bar_07 Sink_bar_03_bar_SinkBasin) (objectAtLocation Knife_bar_07 loc_bar_2)
  (objectAtLocation Mug_bar_01 loc_bar_1) (objectAtLocation Mug_bar_02 loc_bar_2)
  (atLocation agent1 loc_bar_3)
  (= (total-cost) 0))
(:goal (and (exists (?r - receptacle) (exists (?o - object)
  (and (cleanable ?o) (isClean ?o) (objectType ?o MugType) (receptacleType ?r ShelfType)
    (inReceptacle ?o ?r)))))))
"""


def goal_problem(goal: str) -> str:
    """The problem with another goal."""
    return PROBLEM[: PROBLEM.index("(:goal")] + f"(:goal {goal}))"


_HERE = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"

RULES: dict[str, Any] = {
    "intro": [{"rhs": "Hello.\n\n#look.feedback#\n\n#task#"}],
    "task": [{"rhs": "Your task is to: put a clean mug in shelf."}],
    "look.feedback": [
        {"condition": _HERE, "rhs": f"Here is [{{r.name | {_HERE}}}]."},
        {"rhs": "There is [{r.indefinite + ' ' + r.name | receptacleatlocation(r:receptacle, l:location)}]."},
    ],
    "show": [{"rhs": "It holds [{#thing(o)# | inreceptacle(o:object, r:receptacle)}]."}],
    "thing(o)": [{"rhs": "{o.definite} {o.name or o.id}"}],
    "list_empty": [{"rhs": "nothing"}],
    "list_separator": [{"rhs": ", "}],
    "list_last_separator": [{"rhs": ", and "}],
    "unused": [{"rhs": "{strange(value)} #nowhere#"}],
}  # fmt: skip

ACTIONS = {
    "look": ("look", "#look.feedback#"),
    "inventory": ("inventory", "{o.name | holds(a:agent, o:object)}"),
    "help": ("help", "\n  Help (yourself):\n  look\n"),
    "examineReceptacle": ("examine {r}", "#show#"),
    "examineObject": ("examine {o}", "{o.name}: [{o2.name | inreceptacleobject(o2:object, o:object)}]"),
    "GotoLocation": (
        "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]",
        "From {lstart.name} to {lend.name}. #show#",
    ),
    "OpenObject": ("open {r}", "Opened {r.name}."),
    "CloseObject": ("close {r}", "Closed {r.name}."),
    "PickupObject": ("take {o} from {r}", "Taken {o.name}."),
    "PutObject": ("put {o} in/on {r}", "Put {o.name}."),
    "CleanObject": ("clean {o} with {r}", "#clean#"),
    "HeatObject": ("heat {o} with {r}", "Hot."),
    "CoolObject": ("cool {o} with {r}", "Cool."),
    "ToggleObject": ("use {o}", "On."),
    "SliceObject": ("slice {co} with {ko}", "Sliced {co.name}."),
}


def grammar(rules: dict[str, Any] = RULES, actions: dict[str, tuple[str, str]] = ACTIONS) -> str:
    """A grammar in the official format; one rule stands with its action."""
    text = f'# a comment\ngrammar :: """\n{json.dumps(rules, indent=1)}\n""";\n'
    for name, (template, feedback) in actions.items():
        own = 'grammar :: """\n# comment\n{"clean": [{"rhs": "Clean."}]}""";' if name == "CleanObject" else ""
        text += f'action {name} {{\n template :: "{template}"; # comment\n'
        text += f' feedback :: "{feedback}";\n {own}\n}}\n'
    return text


def small_game() -> dict[str, Any]:
    """The contents of a game file."""
    walkthrough = [
        "go to shelf 1",
        "take mug 2 from shelf 1",
        "go to sinkbasin 1",
        "clean mug 2 with sinkbasin 1",
    ]
    walkthrough += ["go to shelf 1", "put mug 2 in/on shelf 1"]
    texts = {"pddl_domain": DOMAIN, "grammar": grammar(), "pddl_problem": PROBLEM}
    return {**texts, "walkthrough": walkthrough, "solvable": True}


def write_game(folder: Path, contents: Any = None) -> Path:
    """Write a game file as official ones are named; a string is written as it is."""
    path = (
        folder / "valid_seen" / "pick_clean_then_place_in_recep-Mug-None-Shelf-1" / "trial_1" / "game.tw-pddl"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = small_game() if contents is None else contents
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents), encoding="utf-8")
    return path
