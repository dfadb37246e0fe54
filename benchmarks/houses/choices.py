"""Measure the statistics for houses of tier ``full``, such that drawn houses have the official counts.

Numbers of receptacles and objects are counted separately for the types that the goal of a game names, since
these are there because of the goal. The correlation between types is one number per type, see ``follows``.
The places of objects are measured as weights of receptacles relative to each other, see ``place_weights``. So
a type of receptacle that few houses have gets its full weight in the houses that have it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stepopsd_envs.alfworld.game import Game
from stepopsd_envs.alfworld.tasks import TOOLS

Array = npt.NDArray[np.float64]
FULLEST = 0.97  # share of the receptacles of a type that hold at most its capacity
FOLLOWS_ALL = 0.95
WEIGHT = 1_000  # weight of the most likely receptacle type of an object
ROUNDS = 200


def measure_choices(games: Sequence[Game]) -> dict[str, Any]:
    """Measure the games of one kind of room."""
    placed = [[item for item in game.items if item.receptacles] for game in games]
    receptacles = [Counter(thing.type for thing in game.receptacles) for game in games]
    objects = [Counter(item.type for item in items) for items in placed]
    fixtures = [Counter(item.type for item in game.items if not item.receptacles) for game in games]
    return {
        "receptacles": numbers(receptacles, [asked_receptacles(game) for game in games]),
        "objects": numbers(objects, [asked_objects(game) for game in games]),
        "fixtures": {kind: histogram(count[kind] for count in fixtures) for kind in kinds_of(fixtures)},
        "places": {kind: place_weights(games, kind) for kind in kinds_of(objects)},
        "capacity": capacities(games),
        **sharing(games),
    }


def asked_receptacles(game: Game) -> set[str]:
    """The receptacle types that the goal needs: the target, and the tool that treats the object."""
    tool = {TOOLS[game.task_type].receptacle} if game.task_type in TOOLS else set()
    return tool | ({game.win.receptacle_type} - {""})


def asked_objects(game: Game) -> set[str]:
    """The object types that the goal needs."""
    return {game.win.item_type, game.win.lamp_type} - {""}


def kinds_of(counts: Iterable[Counter[str]]) -> list[str]:
    """All types in the counts."""
    return sorted({kind for count in counts for kind in count})


def histogram(values: Iterable[int]) -> dict[str, int]:
    """Frequency of each number, including "0"."""
    return {str(number): often for number, often in sorted(Counter(values).items())}


def numbers(counts: Sequence[Counter[str]], asked: Sequence[set[str]]) -> dict[str, Any]:
    """Histograms of each type's number, in games whose goal names the type and in the others."""
    kinds = kinds_of(counts)
    together = follows(np.array([[count[kind] for kind in kinds] for count in counts], float))
    return {
        kind: {
            "asked": histogram(c[kind] for c, a in zip(counts, asked, strict=True) if kind in a),
            "other": histogram(c[kind] for c, a in zip(counts, asked, strict=True) if kind not in a),
            "follows": round(100 * share),
        }
        for kind, share in zip(kinds, together, strict=True)
    }


def follows(table: Array) -> Array:
    """How closely each column follows a common trend of the rows: +-1 fully, 0 not at all.

    If every type's number is taken, with probability ``|b|``, from one draw for the whole house, the
    covariance of two types is about ``b_i b_j s_i s_j`` with their deviations ``s``. The result is the best
    such ``b``, by alternating least squares over the pairs.

    Args:
        table: [houses, types], numbers of each type.
    """
    deviation = table.std(axis=0)
    covariance = np.cov(table.T, ddof=0)
    np.fill_diagonal(covariance, 0.0)
    loading: Array = covariance[np.abs(covariance).sum(axis=1).argmax()].copy()
    for _ in range(ROUNDS):
        for i in range(len(loading)):
            others = np.delete(loading, i)
            bound = FOLLOWS_ALL * deviation[i]
            norm = float(others @ others)
            best = float(np.delete(covariance[i], i) @ others) / norm if norm else 0.0
            loading[i] = np.clip(best, -bound, bound)
    loading *= 1.0 if loading[np.abs(loading).argmax()] >= 0 else -1.0
    shares: Array = np.divide(loading, deviation, out=np.zeros_like(loading), where=deviation > 0)
    return shares


def place_weights(games: Sequence[Game], kind: str) -> dict[str, int]:
    """The weight of one receptacle of each type, relative to the others in a house, for objects of a type.

    The maximum likelihood estimate in Luce's choice model, P(r) = w_r / sum of w over the house, by Hunter's
    MM algorithm: w = times chosen / sum over the choices of (number in the house / sum of w).
    """
    lies_in: Counter[str] = Counter()
    choices: list[tuple[Counter[str], int]] = []
    for game in games:
        placed = [item.receptacles[0] for item in game.items if item.type == kind and item.receptacles]
        chosen = [game.receptacles[number].type for number in placed]
        lies_in.update(chosen)
        offered = Counter(receptacle.type for receptacle in game.receptacles)
        if kind == game.win.item_type and not game.win.states:
            offered[game.win.receptacle_type] = 0  # official games are not won at the start
        choices.append((offered, len(chosen)))
    types = sorted(lies_in)
    offers = np.array([[offered[name] for name in types] for offered, _ in choices], float)
    times = np.array([number for _, number in choices], float)
    wins = np.array([lies_in[name] for name in types], float)
    weights = np.ones(len(types))
    for _ in range(ROUNDS):
        sums = offers @ weights
        rate = np.divide(times, sums, out=np.zeros_like(times), where=sums > 0)
        weights = wins / np.maximum(offers.T @ rate, 1e-12)
        weights /= weights.max()
    return {name: max(1, round(WEIGHT * weight)) for name, weight in zip(types, weights, strict=True)}


def capacities(games: Sequence[Game]) -> dict[str, int]:
    """The capacity of each receptacle type: the quantile ``FULLEST`` of the number of objects in it."""
    held: dict[str, list[int]] = defaultdict(list)
    for game in games:
        inside = Counter(number for item in game.items for number in item.receptacles[:1])
        for number, receptacle in enumerate(game.receptacles):
            held[receptacle.type].append(inside[number])
    return {kind: max(1, sorted(sizes)[int(FULLEST * len(sizes))]) for kind, sizes in sorted(held.items())}


def sharing(games: Sequence[Game]) -> dict[str, Any]:
    """For each type, the number of its receptacles at a place, and the alphabetically next type there."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    neighbours: dict[str, Counter[str]] = defaultdict(Counter)
    for game in games:
        places: dict[int, Counter[str]] = defaultdict(Counter)
        for receptacle in game.receptacles:
            places[receptacle.location][receptacle.type] += 1
        for place in places.values():
            for kind, following in zip(sorted(place), [*sorted(place)[1:], ""], strict=True):
                groups[kind][str(place[kind])] += 1
                neighbours[kind][following] += 1
    return {
        "groups": {kind: dict(sizes) for kind, sizes in groups.items() if set(sizes) != {"1"}},
        "neighbours": {kind: dict(next_) for kind, next_ in neighbours.items() if set(next_) != {""}},
    }
