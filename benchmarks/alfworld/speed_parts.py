"""The parts of ``benchmarks.alfworld.speed``, each measured in a separate process.

``python -m benchmarks.alfworld.speed_parts NAME ARGUMENTS``, with the arguments as JSON, prints the figures
as JSON. Imports and the choice of actions are not timed. Times are CPU seconds of the process, user and
system: on an idle machine they equal wall time without waiting for the disk, and they hardly depend on other
work on the machine. If a part is timed several times the best counts; the median is reported as well.
"""

import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_envs.alfworld import Engine, Game, load_game

ENV_ID = "stepopsd/ALFWorld-v0"
EPISODE = 50
KITCHEN = "Fridge"  # only kitchens have one, and kitchens are the largest rooms
Play = dict[str, Any]  # {"game": path, "task": id, "actions": [command, ...]}
Figures = dict[str, Any]


def kitchens(folder: str, count: int) -> Figures:
    """Draw kitchens from all official games below a folder, each with the actions of one random episode."""
    files = sorted(map(str, Path(folder).rglob("game.tw-pddl")))
    random.Random(0).shuffle(files)
    plays: list[Play] = []
    for file in files:
        if len(plays) == count:
            break
        game = load_game(file)
        if any(place.type == KITCHEN for place in game.receptacles):
            plays.append({"game": file, "task": game.task_id, "actions": random_actions(game, len(plays))})
    return {"games": len(files), "plays": plays}


def random_actions(game: Game, seed: int) -> list[str]:
    """Draw admissible commands at random, up to the length of an episode or the goal."""
    rng, engine = random.Random(seed), Engine(game)
    engine.reset()
    actions: list[str] = []
    while len(actions) < EPISODE and not engine.won:
        actions.append(rng.choice(engine.admissible_commands()))
        engine.step(actions[-1])
    return actions


def steps(plays: list[Play], repeats: int, **settings: Any) -> Figures:
    """Steps per second through ``gym.make``, resets included, and milliseconds per reset of a loaded game.

    Every episode is timed ``repeats`` times.
    """
    files = [play["game"] for play in plays]
    env: gym.Env[str, str] = gym.make(ENV_ID, games=files, step_limit=EPISODE, **settings)
    for play in plays:
        _time_episode(env, play)
    times = [[_time_episode(env, play) for _ in range(repeats)] for play in plays]
    count = sum(len(play["actions"]) for play in plays)
    resets = [[reset for reset, _ in of_play] for of_play in times]
    episodes = [[whole for _, whole in of_play] for of_play in times]
    return {
        "steps_per_s": count / sum(map(min, episodes)),
        "median_steps_per_s": count / sum(map(statistics.median, episodes)),
        "warm_reset_ms": 1000 * statistics.median(map(min, resets)),
        "median_warm_reset_ms": 1000 * statistics.median(map(statistics.median, resets)),
    }


def _time_episode(env: gym.Env[str, str], play: Play) -> tuple[float, float]:
    """Seconds of the reset, and of the whole episode."""
    options = {"game": play["task"]}
    started = time.process_time()
    env.reset(seed=0, options=options)
    begun = time.process_time()
    for action in play["actions"]:
        env.step(action)
    return begun - started, time.process_time() - started


def vector(plays: list[Play], num_envs: int, rounds: int) -> Figures:
    """Steps per second of many games in one process; games that have ended are reset."""
    envs = gym.make_vec(ENV_ID, num_envs=num_envs, games=[play["game"] for play in plays])
    rng = random.Random(0)
    _, infos = envs.reset(seed=0)
    seconds = []
    for _ in range(rounds):
        actions = [rng.choice(commands) for commands in infos["admissible_commands"]]
        started = time.process_time()
        *_, infos = envs.step(actions)
        seconds.append(time.process_time() - started)
    blocks = [seconds[start : start + EPISODE] for start in range(0, rounds, EPISODE)]
    rates = [num_envs * len(block) / sum(block) for block in blocks if len(block) == EPISODE]
    return {"vector_steps_per_s": max(rates), "median_vector_steps_per_s": statistics.median(rates)}


def first_load(file: str) -> Figures:
    """Milliseconds to read and start the first game of a process, including the compilation of its texts."""
    return {"first_load_ms": 1000 * _seconds(lambda: Engine(load_game(file)).reset())}


def opening(folder: str) -> Figures:
    """Seconds to make the environment of all games below a folder, with ids and fingerprint."""
    started, at = time.process_time(), time.perf_counter()
    base: Any = gym.make(ENV_ID, games=folder).unwrapped
    count, fingerprint = len(base.task_ids), base.fingerprint
    seconds = {"seconds": time.process_time() - started, "wall_seconds": time.perf_counter() - at}
    return {**seconds, "games": count, "fingerprint": fingerprint}


def memory(folder: str) -> Figures:
    """Megabytes for all games below a folder, loaded and started together, and the time per game."""
    files = sorted(Path(folder).rglob("game.tw-pddl"))
    before, engines, seconds = _megabytes(), [], []
    for file in files:
        started = time.process_time()
        engine = Engine(load_game(file))
        engine.reset()
        engine.admissible_commands()
        seconds.append(time.process_time() - started)
        engines.append(engine)
    return {
        "loaded_games": len(engines),
        "memory_mb": _megabytes() - before,
        "median_load_ms": 1000 * statistics.median(seconds),
    }


def growth(plays: list[Play], count: int) -> Figures:
    """Megabytes by which the process grows in random steps, after the first tenth of them."""
    env: gym.Env[str, str] = gym.make(ENV_ID, games=[play["game"] for play in plays], step_limit=EPISODE)
    rng, over, before, info = random.Random(0), True, 0.0, {}
    for number in range(count):
        if number == count // 10:
            before = _megabytes()
        if over:
            info = env.reset(seed=0 if number == 0 else None)[1]
        *_, terminated, truncated, info = env.step(rng.choice(info["admissible_commands"]))
        over = terminated or truncated
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"growth_steps": count, "growth_mb": _megabytes() - before, "peak_mb": peak}


def oracle(plays: list[Play], repeats: int) -> Figures:
    """Milliseconds for the optimal distance of a state, and steps per second with ``oracle=True``."""
    env: gym.Env[str, str] = gym.make(ENV_ID, games=[play["game"] for play in plays], step_limit=EPISODE)
    base: Any = env.unwrapped
    seconds = []
    for play in plays:
        env.reset(seed=0, options={"game": play["task"]})
        for action in play["actions"]:
            env.step(action)
            seconds.append(_seconds(base.oracle.distance))
    rates = steps(plays, repeats, oracle=True)
    return {
        "distance_ms": 1000 * statistics.median(seconds),
        "distance_ms_95": 1000 * sorted(seconds)[len(seconds) * 95 // 100],
        "oracle_steps_per_s": rates["steps_per_s"],
        "median_oracle_steps_per_s": rates["median_steps_per_s"],
    }


def observations(plays: list[Play]) -> Figures:
    """The observations for these actions, for comparison with the original."""
    env: gym.Env[str, str] = gym.make(ENV_ID, games=[play["game"] for play in plays], step_limit=EPISODE)
    texts = []
    for play in plays:
        opening, _ = env.reset(seed=0, options={"game": play["task"]})
        texts.append([opening, *(env.step(action)[0] for action in play["actions"])])
    return {"observations": texts}


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _megabytes() -> float:
    """Resident memory of the process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


PARTS: dict[str, Callable[..., Figures]] = {
    part.__name__: part
    for part in (kitchens, steps, vector, first_load, opening, memory, growth, oracle, observations)
}


def main(argv: Sequence[str]) -> int:
    """Run the part named on the command line."""
    name, arguments = argv
    print(json.dumps(PARTS[name](**json.loads(arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
