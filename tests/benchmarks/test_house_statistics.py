"""Measuring houses: what is counted, and that what is drawn from the counts has them again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.houses import statistics as house_statistics
from benchmarks.houses.choices import capacities, follows, numbers, place_weights, sharing
from benchmarks.houses.counts import measure
from benchmarks.houses.statistics import compare, distance, missed, table
from stepopsd_envs.alfworld.full_houses import _number_at, _numbers
from stepopsd_envs.alfworld.game import Game, Goal, Item, Receptacle
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.houses import statistics
from stepopsd_envs.alfworld.official import find_files, load_file
from tests.helpers.alfworld_games import kitchen


def house(receptacles: str, *items: tuple[str, int]) -> Game:
    """A house of receptacles named by letters, each at its own place, with objects (type, receptacle)."""
    stand = tuple(Receptacle(f"{kind} {n}", kind, n) for n, kind in enumerate(receptacles))
    lie = tuple(Item(f"{kind} {n}", kind, (at,), (at,)) for n, (kind, at) in enumerate(items))
    return replace(kitchen(), receptacles=stand, items=lie, win=Goal("Z", "Z"))


def official_looking(number: int, scene: int) -> Game:
    """A generated game under a name such as official ones have, whose scene tells the kind of room."""
    game = generate_game("full", "train", number)
    return replace(game, task_id=f"train/{game.task_type}-X-None-Y-{scene}/trial_{number}")


def test_place_weights_tell_preference_from_presence() -> None:
    """Two thirds of the mugs lie in a where a and b stand; that half the houses lack a does not count.

    By hand: in 3 houses with a and b, 2 of 3 mugs lie in a; in 3 houses with b alone all lie in b. The
    likelihood of the choices where there is one is largest at w_a / (w_a + w_b) = 2 / 3.
    """
    games = [house("ab", ("m", at)) for at in (0, 0, 1)] + [house("b", ("m", 0))] * 3
    assert place_weights(games, "m") == {"a": 1000, "b": 500}


def test_place_weights_are_of_one_receptacle() -> None:
    """Three b beside one a, and as many mugs in the b together as in the a: an a weighs three b."""
    games = [house("abbb", ("m", 0), ("m", 2))] * 5
    assert place_weights(games, "m") == {"a": 1000, "b": 333}


def test_follows_finds_what_goes_together() -> None:
    """Two columns rise with a trend, one falls, one is by itself."""
    rng = np.random.default_rng(0)
    trend = rng.random(4000)

    def column(share: float, sign: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        own = rng.random(4000)
        common = trend if sign > 0 else 1 - trend
        return np.where(rng.random(4000) < share, common, own)

    found = follows(np.stack([column(0.9), column(0.6), column(0.7, -1), column(0.0)], axis=1))
    assert np.abs(found - [0.9, 0.6, -0.7, 0.0]).max() < 0.06


def test_numbers_drawn_have_the_means_and_the_spread_measured() -> None:
    """Two types that rise together and one that a goal asks for; the sum varies as it did."""
    rng = np.random.default_rng(1)
    sizes = [(int(n), int(n) + 1, 1 + int(rng.integers(2))) for n in rng.integers(0, 4, 500)]
    counts = [Counter({"a": a, "b": b, "c": c}) for a, b, c in sizes]
    measured = numbers(counts, [{"c"}] * 500)
    assert measured["c"]["other"] == {} and measured["a"]["asked"] == {}
    drawn = [_numbers(rng, measured, {"c": 1}) for _ in range(3000)]
    for kind in "abc":
        assert abs(np.mean([d[kind] for d in drawn]) - np.mean([c[kind] for c in counts])) < 0.1
    spread = [np.std([count.total() for count in found]) for found in (counts, drawn)]
    assert abs(spread[0] - spread[1]) < 0.25


@pytest.mark.parametrize(
    ("point", "least", "expected"),
    [(0.0, 0, 0), (0.24, 0, 0), (0.25, 0, 2), (0.99, 0, 5), (1.0, 0, 5), (0.0, 1, 2), (0.0, 6, 6)],
)
def test_number_at_reads_a_histogram(point: float, least: int, expected: int) -> None:
    """0, 2, 5 with weights 1, 2, 1; at least so many, even when no house had them."""
    assert _number_at(point, {"5": 1, "0": 1, "2": 2}, least) == expected


def test_capacities_leave_out_the_fullest_few() -> None:
    """A hundred shelves with one object, one with five; an empty type holds one."""
    games = [house("s", ("m", 0)) for _ in range(100)] + [house("s", *[("m", 0)] * 5), house("e")]
    assert capacities(games) == {"e": 1, "s": 1}


def test_sharing_counts_receptacles_at_one_place() -> None:
    """Two drawers together, a third with the desk, in the alphabet's order."""
    stand = [("Drawer", 0), ("Drawer", 0), ("Drawer", 1), ("Desk", 1)]
    receptacles = tuple(Receptacle(f"x {n}", kind, at) for n, (kind, at) in enumerate(stand))
    assert sharing([replace(kitchen(), receptacles=receptacles)]) == {
        "groups": {"Drawer": {"2": 1, "1": 1}},
        "neighbours": {"Desk": {"Drawer": 1}},
    }


def test_distance_is_the_largest_gap_of_the_distribution_functions() -> None:
    """0 for equal ones, 1 for separate ones; half of {1, 2} lies below all of {2, 2}."""
    assert distance([1, 2, 3], [3, 2, 1]) == 0.0
    assert distance([1, 2], [3, 4]) == 1.0
    assert distance([1, 2], [2, 2]) == 0.5


def test_compare_finds_generated_games_alike_and_others_not() -> None:
    """Kitchens stand for the official ones: the same again, and beside games of all rooms."""
    everything = [generate_game("full", "train", number) for number in range(150)]
    kitchens = [n for n, game in enumerate(everything) if any(r.type == "Fridge" for r in game.receptacles)]
    official = [official_looking(n, scene=1 + n % 2) for n in kitchens]
    same = compare(official, [everything[n] for n in kitchens])
    assert not missed(same) and all(row["distance"] == 0 for row in same["figures"].values())
    assert same["types"]["kitchen"]["receptacles"]["Fridge"] == [1.0, 1.0]
    other = compare(official, everything)
    assert "receptacles" in missed(other)
    assert "receptacles " in table(other) and "pick_two_obj_and_place" in table(other)


def test_house_statistics_finds_full_houses_like_the_official_ones(
    official_games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short comparison meets its target and draws a picture."""
    monkeypatch.setattr(house_statistics, "SHORT", 120)
    picture = tmp_path / "houses.png"
    monkeypatch.setattr(
        "sys.argv", ["x", "--games", str(official_games / "train"), "--short", "--picture", str(picture)]
    )
    assert house_statistics.main() == 0
    assert "beyond the target: none" in capsys.readouterr().out.splitlines()[-1]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_house_statistics_of_the_official_games_are_those_shipped(official_games: Path) -> None:
    """`houses.json` is what `benchmarks/houses/counts.py` measures, nothing else."""
    files = find_files(official_games / "train")
    assert measure(load_file(file) for file in files) == statistics()
