"""Measure the statistics of official training games from which the generator draws new games.

``python -m benchmarks.houses.counts --games DIR`` reads the games below ``DIR`` and writes
``stepopsd_envs/alfworld/houses.json``. For each kind of room it has the numbers of receptacles and objects of
each type, and the receptacles in which the objects lie. Over all rooms it has the share of receptacles of
each type that can be opened, the objects that fit into each type, the abilities of each object type, and the
goals. ``benchmarks/houses/choices.py`` adds the statistics for tier ``full``. Only counts are stored, no
houses.
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
ROOMS = {0: "kitchen", 2: "livingroom", 3: "bedroom", 4: "bathroom"}  # by the hundreds of the scene number
ABILITIES = ("pickupable", "cleanable", "heatable", "coolable", "sliceable", "toggleable", "vessel")
RARE = 0.03  # types in a smaller share of a room's games are left out

Histogram = dict[str, dict[str, int]]


def room_of(task_id: str) -> str:
    """The kind of room from a task id: ``train/pick_...-Mug-None-Desk-307/trial_...`` gives ``bedroom``.

    Raises:
        ValueError: the id has no scene number.
    """
    scene = task_id.split("/")[-2].rpartition("-")[2]
    if not scene.isdigit() or int(scene) // 100 not in ROOMS:
        raise ValueError(
            f"task id {task_id!r} has no scene number; expected .../<type>-<object>-...-<scene>/<trial>"
        )
    return ROOMS[int(scene) // 100]


def by_room(games: Iterable[Game]) -> dict[str, list[Game]]:
    """The games of each kind of room."""
    rooms: dict[str, list[Game]] = defaultdict(list)
    for game in games:
        rooms[room_of(game.task_id)].append(game)
    return dict(rooms)


def measure(games: Iterable[Game]) -> dict[str, Any]:
    """Count over games; return the content of ``houses.json``."""
    rooms = by_room(games)
    everything = [game for of_room in rooms.values() for game in of_room]
    return {
        "games": len(everything),
        "rooms": {room: measure_room(of_room) for room, of_room in rooms.items()},
        "openable": openable(everything),
        "abilities": abilities(everything),
        "can_contain": can_contain(everything),
        "goals": goals(rooms),
        "full": {room: measure_choices(of_room) for room, of_room in rooms.items()},
    }


def goals(rooms: dict[str, list[Game]]) -> dict[str, dict[str, dict[str, Counter[str]]]]:
    """Count the goals: ``[task type][room][object][target]``."""
    counts: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    for room, games in rooms.items():
        for game in games:
            of_room = counts.setdefault(game.task_type, {}).setdefault(room, {})
            target = game.win.receptacle_type or game.win.lamp_type
            of_room.setdefault(game.win.item_type, Counter())[target] += 1
    return counts


def measure_room(games: list[Game]) -> dict[str, Any]:
    """Count receptacles and objects in the games of one kind of room."""
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
    """Return ``{type: {number: count of games}}`` without rare types; the number 0 is not listed."""
    games_of: dict[str, Counter[str]] = defaultdict(Counter)
    for count in counts:
        for kind, number in count.items():
            games_of[kind][str(number)] += 1
    return {kind: dict(games) for kind, games in games_of.items() if games.total() >= RARE * len(counts)}


def openable(games: list[Game]) -> dict[str, list[int]]:
    """Return ``[number that can be opened, total number]`` for the types that can be opened."""
    total = Counter(r.type for game in games for r in game.receptacles)
    hinged = Counter(r.type for game in games for r in game.receptacles if r.openable)
    return {kind: [hinged[kind], total[kind]] for kind in hinged}


def abilities(games: list[Game]) -> dict[str, list[str]]:
    """Return the abilities that most objects of each type have."""
    totals: Counter[str] = Counter()
    able: dict[str, Counter[str]] = defaultdict(Counter)
    for item in (item for game in games for item in game.items):
        totals[item.type] += 1
        flags = {name: bool(getattr(item, name)) for name in ABILITIES}
        able[item.type].update(name for name, is_able in flags.items() if is_able)
    return {kind: sorted(n for n in able[kind] if 2 * able[kind][n] > totals[kind]) for kind in totals}


def can_contain(games: list[Game]) -> dict[str, list[str]]:
    """Return the union over the games, since each game lists only the types in its house."""
    allowed: dict[str, set[str]] = defaultdict(set)
    for game in games:
        for receptacle, thing in game.can_contain:
            allowed[receptacle].add(thing)
    return {receptacle: sorted(things) for receptacle, things in allowed.items()}


def main() -> int:
    """Read the games, write the counts; return 2 for bad input, else 0."""
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
