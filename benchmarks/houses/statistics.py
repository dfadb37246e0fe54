"""Compare generated houses of tier ``full`` with official ones: a table, a picture, and all figures as JSON.

``python -m benchmarks.houses.statistics --games DIR [--json OUT] [--picture PNG]
[--short]`` measures the official training games below ``DIR`` and as many generated games. It compares the
distributions of sizes, texts and walkthroughs, the mean number of each type in each kind of room, and the
shares of the task types. The distance of two distributions is the Kolmogorov-Smirnov distance; for reference,
the table also has the distance between the two halves of the official scenes. Target: no distance above
``TARGET``, or above the distance that chance exceeds in 1 % of cases.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.houses.counts import by_room
from benchmarks.houses.picture import draw
from benchmarks.output import write_result
from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import TASK_TYPES, Game
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.official import find_files, load_file
from stepopsd_envs.alfworld.oracle import Oracle

TARGET = 0.10
CHANCE = 1.63  # times sqrt(2 / games): two samples of one distribution exceed this distance in 1 % of cases
SHORT = 150  # games of each kind
COMMAND = "python -m benchmarks.houses.statistics --games DIR"

FIGURES: dict[str, Callable[[Game], float]] = {
    "receptacles": lambda game: len(game.receptacles),
    "places": lambda game: len({receptacle.location for receptacle in game.receptacles}),
    "types of receptacles": lambda game: len({receptacle.type for receptacle in game.receptacles}),
    "objects in receptacles": lambda game: len(lying(game)),
    "types of objects": lambda game: len({item.type for item in lying(game)}),
    "things elsewhere": lambda game: len(game.items) - len(lying(game)),
    "empty receptacles": lambda game: len(game.receptacles) - len({i.receptacles[0] for i in lying(game)}),
    "commands of the walkthrough": lambda game: len(game.walkthrough),
    "least commands to win": lambda game: least_commands(game),
    "letters of the opening text": lambda game: len(Engine(game).reset()),
    "letters of an answer": lambda game: float(np.mean([len(answer) for answer in answers(game)])),
}


def lying(game: Game) -> list[Any]:
    """The objects that lie in a receptacle."""
    return [item for item in game.items if item.receptacles]


def answers(game: Game) -> list[str]:
    """The game's feedback along its walkthrough."""
    engine = Engine(game)
    engine.reset()
    return [engine.step(command) for command in game.walkthrough]


def least_commands(game: Game) -> int:
    """The length of a shortest plan."""
    engine = Engine(game)
    engine.reset()
    return Oracle(engine).distance()


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """The Kolmogorov-Smirnov distance: the largest difference of two distribution functions."""
    points = np.union1d(first, second)
    samples = (first, second)
    shares = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in samples]
    return float(np.abs(shares[0] - shares[1]).max())


def halves(games: Sequence[Game]) -> tuple[list[Game], list[Game]]:
    """The games in scenes with odd and with even numbers."""
    scene = [int(game.task_id.split("/")[-2].rpartition("-")[2]) for game in games]
    odd = [game for game, number in zip(games, scene, strict=True) if number % 2]
    return odd, [game for game, number in zip(games, scene, strict=True) if number % 2 == 0]


def compare(official: Sequence[Game], generated: Sequence[Game]) -> dict[str, Any]:
    """Every figure of official and generated games."""
    one, other = by_room(official), by_receptacles(generated)
    rows = {}
    for name, figure in FIGURES.items():
        values = {"official": list(map(figure, official)), "full": list(map(figure, generated))}
        rows[name] = {
            **{kind: spread(numbers) for kind, numbers in values.items()},
            "distance": distance(values["official"], values["full"]),
            "rooms": {room: distance(*(list(map(figure, g[room])) for g in (one, other))) for room in one},
            "between_halves": distance(*(list(map(figure, half)) for half in halves(official))),
            "values": values,
        }
    counts = {"games": len(official), "target": TARGET}
    return {**counts, "figures": rows, "types": types(one, other), "task_types": shares(official, generated)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation and percentiles of a distribution."""
    points = (5, 25, 50, 75, 95)
    percentiles = zip(points, np.percentile(values, points).tolist(), strict=True)
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values)),
        **{f"p{point}": value for point, value in percentiles},
    }


def by_receptacles(games: Sequence[Game]) -> dict[str, list[Game]]:
    """Generated games by kind of room, recognised by a receptacle that only this kind of room has."""
    rooms: dict[str, list[Game]] = {"kitchen": [], "bathroom": [], "bedroom": [], "livingroom": []}
    for game in games:
        kinds = {receptacle.type for receptacle in game.receptacles}
        tells = {"kitchen": {"Fridge"}, "bathroom": {"Toilet"}, "bedroom": {"Bed"}, "livingroom": kinds}
        rooms[next(room for room, marks in tells.items() if marks & kinds)].append(game)
    return rooms


def types(one: Mapping[str, Sequence[Game]], other: Mapping[str, Sequence[Game]]) -> dict[str, Any]:
    """Mean numbers per house, ``[room][receptacles or objects][type] = [official, full]``."""
    counts: dict[str, Callable[[Game], Counter[str]]] = {
        "receptacles": lambda game: Counter(receptacle.type for receptacle in game.receptacles),
        "objects": lambda game: Counter(item.type for item in lying(game)),
    }
    table: dict[str, Any] = {}
    for room in sorted(one):
        for what, count in counts.items():
            means = [_means(games, count) for games in (one[room], other[room])]
            kinds = sorted(set(means[0]) | set(means[1]))
            table.setdefault(room, {})[what] = {kind: [m.get(kind, 0.0) for m in means] for kind in kinds}
    return table


def _means(games: Sequence[Game], count: Callable[[Game], Counter[str]]) -> dict[str, float]:
    total: Counter[str] = sum((count(game) for game in games), Counter())
    return {kind: number / len(games) for kind, number in total.items()}


def shares(*kinds: Sequence[Game]) -> dict[str, list[float]]:
    """The share of each task type."""
    counts = [Counter(game.task_type for game in games) for games in kinds]
    return {name: [count[name] / count.total() for count in counts] for name in TASK_TYPES}


def missed(result: Mapping[str, Any]) -> list[str]:
    """The figures that miss the target."""
    allowed = max(TARGET, CHANCE * (2 / result["games"]) ** 0.5)
    return [name for name, row in result["figures"].items() if row["distance"] > allowed]


def table(result: Mapping[str, Any]) -> str:
    """The figures, one line each."""
    lines = [f"{'':<28} {'official':>16} {'full':>16} {'distance':>9} {'worst room':>11} {'halves':>7}"]
    for name, row in result["figures"].items():
        cells = [f"{row[kind]['mean']:.1f} ± {row[kind]['sd']:.1f}" for kind in ("official", "full")]
        worst = max(row["rooms"].values())
        distances = f"{row['distance']:>9.3f} {worst:>11.3f} {row['between_halves']:>7.3f}"
        lines.append(f"{name:<28} {cells[0]:>16} {cells[1]:>16} {distances}")
    for name, (one, other) in result["task_types"].items():
        lines.append(f"{name:<32} {one:>12.1%} {other:>16.1%}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write; return 1 for a missed target, 2 for bad input, else 0."""
    parser = argparse.ArgumentParser(description="Compare generated houses with official ones.")
    parser.add_argument("--games", type=Path, required=True, help="folder with official training games")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--picture", type=Path, help="draw the distributions as a PNG")
    parser.add_argument("--short", action="store_true", help=f"{SHORT} games of each kind only")
    arguments = parser.parse_args()
    try:
        files = find_files(arguments.games)
        files = files[:: max(1, len(files) // SHORT)] if arguments.short else files
        official = [load_file(file) for file in files]
        generated = [generate_game("full", "train", number) for number in range(len(official))]
        result = compare(official, generated)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(result))
    if arguments.picture:
        draw(result, arguments.picture)
    for row in result["figures"].values():
        del row["values"]
    if arguments.json:
        write_result(arguments.json, result, COMMAND)
    worst = max(result["figures"], key=lambda name: result["figures"][name]["distance"])
    print(
        f"{len(official)} games of each kind; largest distance "
        f"{result['figures'][worst]['distance']:.3f} ({worst}); beyond the target: {missed(result) or 'none'}"
    )
    return 1 if missed(result) else 0


if __name__ == "__main__":
    sys.exit(main())
