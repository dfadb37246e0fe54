"""Correctness and speed of the oracle.

``python -m benchmarks.alfworld.oracle --games DIR [--json OUT] [--short]`` checks four things:

- official: the oracle wins every game of DIR, with at most as many commands as the game's walkthrough;
- generated: the same for games of every tier and split;
- breadth-first search: on small games with all special cases (see small_games.py) the oracle gives the same
  distances from random states (none if the game cannot be won) and the same best commands;
- speed: the time of a distance in random play, and the steps per second with ``oracle=True`` and with
  ``oracle=False``, including resets.

Along each plan the distance must fall by exactly 1. The last line has the figures; the exit code is 1 if a
target is missed, 2 for games that cannot be read. ``--short`` uses a part of each.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

import stepopsd_envs  # noqa: F401  (registers the environment)
from benchmarks.alfworld.breadth_first import Distances, distances, forgetful
from benchmarks.alfworld.small_games import small_game, some_state
from benchmarks.output import write_result
from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.generator import SPLITS, TIERS, generate_game
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.official import find_files, load_file
from stepopsd_envs.alfworld.oracle import UNWINNABLE, Oracle
from stepopsd_envs.alfworld.oracle_house import House
from stepopsd_envs.alfworld.oracle_search import shortest_plan
from stepopsd_envs.alfworld.world import EngineState
from stepopsd_envs.manifest import GamesNotFoundError

MAX_MEDIAN_MS = 2.0
MIN_STEPS_PER_S = 2_000
STEP_LIMIT = 50


class Size(NamedTuple):
    """Size of the benchmark."""

    official: int | None  # official games; None: all
    generated: int  # generated games
    small: int  # small games
    states: int  # states compared in each small game
    max_states: int  # greatest number of states of a small game
    played: int  # games for the measurement of speed


FULL = Size(official=None, generated=10_000, small=300, states=100, max_states=2_000, played=256)
SHORT = Size(official=100, generated=300, small=25, states=25, max_states=600, played=40)


def follow_plan(game: Game) -> tuple[int, str]:
    """Play the oracle's plan from the start; return its length and the error in it, "" if there is none."""
    engine = Engine(game)
    engine.reset()
    oracle = Oracle(engine)
    plan = oracle.plan()
    problem = ""
    for left, command in zip(range(len(plan), 0, -1), plan, strict=True):
        if oracle.distance() != left:
            problem = problem or f"{left} commands before the end the distance is {oracle.distance()}"
        if command not in engine.admissible_commands():
            problem = problem or f"{command!r} is not possible"
        engine.step(command)
    if not engine.won:
        problem = problem or f"not won after {plan}"
    if len(plan) > len(game.walkthrough) > 0:
        problem = problem or f"{len(plan)} commands, the walkthrough has {len(game.walkthrough)}"
    return len(plan), problem


def won_games(games: Iterable[Game], name: str, failures: list[str]) -> dict[str, Any]:
    """Number of games won, and of commands in plans and walkthroughs."""
    count = won = planned = walked = 0
    for game in games:
        length, problem = follow_plan(game)
        if problem:
            failures.append(f"{game.task_id}: {problem}")
        count, won = count + 1, won + (not problem)
        planned, walked = planned + length, walked + len(game.walkthrough)
    return {
        f"{name}_games": count,
        f"{name}_won": won,
        f"{name}_commands": planned,
        f"{name}_walkthrough_commands": walked,
    }


def generated_games(count: int) -> Iterator[Game]:
    """Games of all tiers and splits, in turn."""
    kinds = [(tier, split) for tier in sorted(TIERS) for split in SPLITS]
    for number in range(count):
        yield generate_game(*kinds[number % len(kinds)], number // len(kinds))


def compare_with_search(size: Size, failures: list[str]) -> dict[str, Any]:
    """Compare distances and best commands on small games with breadth-first search."""
    seed = games = states = equal = unwinnable = 0
    while games < size.small:
        game, seed = small_game(seed), seed + 1
        start = some_state(game, seed)
        expected = distances(game, start, size.max_states)
        if expected is None:
            continue
        games += 1
        problem = follow_plan_from(game, start)
        tried = random.Random(seed).sample(sorted(expected), min(size.states, len(expected)))
        for number, state in enumerate(tried):
            problem = problem or difference(game, state, expected, best=number < 3)
            unwinnable += expected[state] is None
        states += len(tried)
        equal += not problem
        if problem:
            failures.append(f"{game.task_id}: {problem}")
    return {
        "small_games": games,
        "small_games_equal": equal,
        "small_states": states,
        "small_states_unwinnable": unwinnable,
    }


def follow_plan_from(game: Game, start: EngineState) -> str:
    """Play the plan from any state; return the error in it, "" if there is none."""
    engine = Engine(game)
    engine.set_state(start)
    oracle = Oracle(engine)
    distances_seen = [oracle.distance()]
    for command in oracle.plan():
        engine.step(command)
        distances_seen.append(oracle.distance())
    good = [UNWINNABLE], list(range(len(distances_seen) - 1, -1, -1))
    return "" if distances_seen in good else f"along the plan the distances are {distances_seen}"


def difference(game: Game, state: EngineState, expected: Distances, best: bool) -> str:
    """The difference between oracle and search in a state; "" if there is none."""
    engine = Engine(game)
    engine.set_state(state)
    oracle, distance = Oracle(engine), expected[state]
    if oracle.distance() != (UNWINNABLE if distance is None else distance):
        return f"distance {oracle.distance()}, by search {distance}, in {state}"
    if not best:
        return ""
    commands = []
    for command in engine.admissible_commands():
        engine.set_state(state)
        engine.step(command)
        after = expected.get(forgetful(engine.get_state()))
        if distance and after == distance - 1:
            commands.append(command)
    engine.set_state(state)
    got = oracle.best_commands()
    return "" if got == commands else f"best commands {got}, by search {commands}, in {state}"


def play(games: Sequence[str], oracle: bool) -> tuple[int, float]:
    """Play randomly; return the number of steps and the seconds, resets included."""
    env = gym.make("stepopsd/ALFWorld-v0", games=list(games), oracle=oracle, step_limit=STEP_LIMIT)
    base, rng = env.unwrapped, random.Random(0)
    assert isinstance(base, AlfworldEnv)
    for task_id in base.task_ids:  # load all games before the measurement
        env.reset(options={"game": task_id})
    steps, started = 0, time.perf_counter()
    for task_id in base.task_ids:
        _, info = env.reset(seed=0, options={"game": task_id})
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(rng.choice(info["admissible_commands"]))
            steps, over = steps + 1, bool(terminated or truncated)
    return steps, time.perf_counter() - started


def speed(games: Sequence[str]) -> dict[str, Any]:
    """Steps per second with and without the oracle."""
    with_oracle, without = (steps / seconds for steps, seconds in (play(games, True), play(games, False)))
    return {
        "steps_per_s": with_oracle,
        "steps_per_s_without_oracle": without,
        "ratio": with_oracle / without,
    }


def distance_times(games: Iterable[Game]) -> dict[str, Any]:
    """Milliseconds for a distance in random play, without cached distances."""
    rng, times = random.Random(0), []
    for game in games:
        engine, house = Engine(game), House(game)
        engine.reset()
        for _ in range(STEP_LIMIT):
            state = engine.get_state()
            started = time.perf_counter()
            shortest_plan(house, house.situation(house.facts(state)))
            times.append(1000 * (time.perf_counter() - started))
            engine.step(rng.choice(engine.admissible_commands()))
    times.sort()
    names = {"median": 0.5, "p99": 0.99}
    return {f"distance_ms_{name}": times[int(share * (len(times) - 1))] for name, share in names.items()}


def measure(folder: Path, size: Size) -> tuple[dict[str, Any], list[str]]:
    """All figures, and the failures."""
    files = find_files(folder)
    some = files if size.official is None else files[:: max(1, len(files) // size.official)]
    played = files[:: max(1, len(files) // size.played)][: size.played]
    failures: list[str] = []
    figures = speed([file.path for file in played])
    figures |= distance_times(map(load_file, played))
    figures |= won_games(map(load_file, some), "official", failures)
    figures |= won_games(generated_games(size.generated), "generated", failures)
    figures |= compare_with_search(size, failures)
    return figures, failures


def summary(figures: dict[str, Any]) -> str:
    """The last line."""
    return (
        f"{figures['official_won']}/{figures['official_games']} official and "
        f"{figures['generated_won']}/{figures['generated_games']} generated games won, "
        f"{figures['small_games_equal']}/{figures['small_games']} small games equal to search; "
        f"{figures['distance_ms_median']:.2f} ms per distance, {figures['steps_per_s']:.0f} steps/s"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.alfworld.oracle", description="Is the oracle right and quick?"
    )
    parser.add_argument("--games", type=Path, required=True, help="folder of official games")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="a part of each")
    arguments = parser.parse_args(argv)
    try:
        figures, failures = measure(arguments.games, SHORT if arguments.short else FULL)
        if arguments.json:
            command = "python -m benchmarks.alfworld.oracle --games DIR" + " --short" * arguments.short
            write_result(arguments.json, figures | {"failures": failures[:20]}, command)
    except (GamesNotFoundError, GameFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(failures[:5]) or "no difference")
    print(summary(figures))
    slow = figures["distance_ms_median"] >= MAX_MEDIAN_MS or figures["steps_per_s"] < MIN_STEPS_PER_S
    return int(bool(failures) or slow)


if __name__ == "__main__":
    sys.exit(main())
