"""The benchmark of the oracle: what it counts, and how it ends."""

import json
from pathlib import Path

import pytest

from benchmarks.alfworld import oracle as benchmark
from benchmarks.alfworld.breadth_first import distances, forgetful
from benchmarks.alfworld.small_games import small_game, some_state
from stepopsd_envs.alfworld.game import Goal
from stepopsd_envs.alfworld.oracle import Oracle
from tests.helpers.alfworld_games import ITEMS, RECEPTACLES, kitchen, started, write_game

TINY = benchmark.Size(official=1, generated=6, small=2, states=5, max_states=300, played=1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minimum of games, and no demands on a machine that has other work."""
    monkeypatch.setattr(benchmark, "SHORT", TINY)
    monkeypatch.setattr(benchmark, "MAX_MEDIAN_MS", float("inf"))
    monkeypatch.setattr(benchmark, "MIN_STEPS_PER_S", 0)


@pytest.mark.usefixtures("quick")
def test_benchmark_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures on the last line and in the file, with the command but not this machine's paths."""
    write_game(tmp_path)
    out = tmp_path / "out.json"
    assert benchmark.main(["--games", str(tmp_path), "--short", "--json", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "1/1 official and 6/6 generated games won, 2/2 small games equal to search" in last
    figures = json.loads(out.read_text())
    assert (figures["official_commands"], figures["failures"]) == (6, [])
    assert figures["command"] == "python -m benchmarks.alfworld.oracle --games DIR --short"
    assert figures["steps_per_s"] > 0 and figures["distance_ms_median"] > 0


@pytest.mark.usefixtures("quick")
def test_benchmark_fails_when_it_is_slow_or_the_oracle_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 for either."""
    write_game(tmp_path)
    arguments = ["--games", str(tmp_path), "--short"]
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "MIN_STEPS_PER_S", 1e12)
        assert benchmark.main(arguments) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Oracle, "plan", lambda oracle: ["look"])
        assert benchmark.main(arguments) == 1


def test_benchmark_without_games_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert benchmark.main(["--games", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_breadth_first_search_knows_a_distance_worked_by_hand() -> None:
    """Go, take, put; with the mug on the shelf 0; where no mug fits, none."""
    game = kitchen(items=ITEMS[5:6], receptacles=RECEPTACLES[:5])
    found = distances(game, started(game).get_state(), 5_000)
    assert found is not None and found[forgetful(started(game).get_state())] == 3
    assert min(distance for distance in found.values() if distance is not None) == 0
    lost = kitchen(items=ITEMS[5:6], receptacles=RECEPTACLES[:5], win=Goal("Mug", "Bed"))
    found = distances(lost, started(lost).get_state(), 5_000)
    assert found is not None and set(found.values()) == {None}
    assert distances(lost, started(lost).get_state(), 5) is None


def test_small_games_are_varied_and_the_same_every_time() -> None:
    """All kinds of goals and rules turn up among the first hundred."""
    games = [small_game(seed) for seed in range(100)]
    assert games == [small_game(seed) for seed in range(100)]
    assert some_state(games[0], 0) == some_state(games[0], 0)
    assert {state for game in games for state in game.win.states} == {"clean", "hot", "cool", "sliced"}
    assert {game.win.count for game in games} == {1, 2}
    for odd in (
        lambda game: game.win.lamp_type,
        lambda game: game.win.all_closed,
        lambda game: game.rules.one_open,
        lambda game: game.rules.toggle_by_location,
        lambda game: any(len(item.receptacles) > 1 for item in game.items),
        lambda game: any(not item.receptacles for item in game.items),
    ):
        assert 1 < sum(bool(odd(game)) for game in games) < 99
