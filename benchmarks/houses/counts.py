"""Measure the statistics that the generator draws new games from, out of official training games.

``python -m benchmarks.houses.counts --games DIR`` reads the games below ``DIR`` and writes
``stepopsd_envs/alfworld/houses.json``: for each kind of room how many receptacles of each type a house has,
how many objects of each type lie around and on what; and over all rooms: how many receptacles of each type
can be opened, which objects each type may hold, what can be done to each object type, and which goals are
asked for. ``benchmarks/houses/choices.py`` adds what the houses of tier ``full`` need. The result is counts
only: no house is stored.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.houses.choices import measure_choices
from stepopsd_envs.alfworld.game import Game
from stepopsd_envs.alfworld.official import find_files, load_file

HOUSES = Path(__file__).resolve().parents[2] / "stepopsd_envs" / "alfworld" / "houses.json"
ROOMS = {0: "kitchen", 2: "livingroom", 3: "bedroom", 4: "bathroom"}  # hundreds of the scene number
ABILITIES = ("pickupable", "cleanable", "heatable", "coolable", "sliceable", "toggleable", "vessel")
RARE = 0.03  # types seen in a smaller share of a room's games are left out

Histogram = dict[str, dict[str, int]]


def room_of(task_id: str) -> str:
    """``train/pick_...-Mug-None-Desk-307/trial_...`` -> ``bedroom``: scenes are numbered by kind of room."""
    scene = task_id.split("/")[-2].rpartition("-")[2]
    if not scene.isdigit() or int(scene) // 100 not in ROOMS:
        raise ValueError(
            f"task id {task_id!r} has no scene number; expected .../<type>-<object>-...-<scene>/<trial>"
        )
    return ROOMS[int(scene) // 100]


def by_room(games: Iterable[Game]) -> dict[str, list[Game]]:
    """The games of each kind of room."""
    found: dict[str, list[Game]] = defaultdict(list)
    for game in games:
        found[room_of(game.task_id)].append(game)
    return dict(found)


def measure(games: Iterable[Game]) -> dict[str, Any]:
    """Count over games; the result is what ``houses.json`` holds."""
    rooms = by_room(games)
    everything = [game for found in rooms.values() for game in found]
    return {
        "games": len(everything),
        "rooms": {room: measure_room(found) for room, found in rooms.items()},
        "openable": openable(everything),
        "abilities": abilities(everything),
        "can_contain": can_contain(everything),
        "goals": goals(rooms),
        "full": {room: measure_choices(found) for room, found in rooms.items()},
    }


def goals(rooms: dict[str, list[Game]]) -> dict[str, dict[str, dict[str, Counter[str]]]]:
    """Return how often each target is asked for: ``[task type][room][object][target]``."""
    found: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    for room, games in rooms.items():
        for game in games:
            asked = found.setdefault(game.task_type, {}).setdefault(room, {})
            target = game.win.receptacle_type or game.win.lamp_type
            asked.setdefault(game.win.item_type, Counter())[target] += 1
    return found


def measure_room(games: list[Game]) -> dict[str, Any]:
    """Count receptacles and objects of the games of one kind of room."""
    receptacles = histograms([Counter(r.type for r in game.receptacles) for game in games])
    placed = [[item for item in game.items if item.receptacles] for game in games]
    objects = histograms([Counter(item.type for item in items) for items in placed])
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for game, items in zip(games, placed, strict=True):
        for item in items:
            places[item.type][game.receptacles[item.receptacles[0]].type] += 1
    return {
        "games": len(games),
        "receptacles": receptacles,
        "objects": objects,
        "places": {kind: dict(places[kind]) for kind in objects},
    }


def histograms(counts: list[Counter[str]]) -> Histogram:
    """Return ``{type: {how many: in how many games}}`` without rare types; "none" is not listed."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for count in counts:
        for kind, number in count.items():
            found[kind][str(number)] += 1
    return {kind: dict(seen) for kind, seen in found.items() if seen.total() >= RARE * len(counts)}


def openable(games: list[Game]) -> dict[str, list[int]]:
    """Return ``[how many can be opened, how many there are]`` for the types that have a door or lid."""
    total = Counter(r.type for game in games for r in game.receptacles)
    hinged = Counter(r.type for game in games for r in game.receptacles if r.openable)
    return {kind: [hinged[kind], total[kind]] for kind in hinged}


def abilities(games: list[Game]) -> dict[str, list[str]]:
    """Return what most objects of each type allow."""
    totals: Counter[str] = Counter()
    able: dict[str, Counter[str]] = defaultdict(Counter)
    for item in (item for game in games for item in game.items):
        totals[item.type] += 1
        flags = {name: bool(getattr(item, name)) for name in ABILITIES}
        able[item.type].update(name for name, held in flags.items() if held)
    return {kind: sorted(n for n in able[kind] if 2 * able[kind][n] > totals[kind]) for kind in totals}


def can_contain(games: list[Game]) -> dict[str, list[str]]:
    """Return the union of what the games allow: each lists only types that stand in its own house."""
    allowed: dict[str, set[str]] = defaultdict(set)
    for game in games:
        for receptacle, thing in game.can_contain:
            allowed[receptacle].add(thing)
    return {receptacle: sorted(things) for receptacle, things in allowed.items()}


def main() -> int:
    """Read the games, write the counts; exit code 2 on input that cannot be used."""
    parser = argparse.ArgumentParser(description="Measure house statistics from official training games.")
    parser.add_argument("--games", type=Path, required=True, help="folder with official training games")
    parser.add_argument("--json", type=Path, default=HOUSES, help="file to write (default: houses.json)")
    arguments = parser.parse_args()
    try:
        counts = measure(load_file(file) for file in find_files(arguments.games))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(counts, separators=(",", ":"), sort_keys=True)
    arguments.json.write_text(text.replace('},"', '},\n"') + "\n", encoding="utf-8")
    print(f"measured {counts['games']} games in {len(counts['rooms'])} kinds of rooms: {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
