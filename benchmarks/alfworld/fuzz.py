"""Fuzz the environment with random actions, and the reader of games with damaged files.

``python -m benchmarks.alfworld.fuzz [--games DIR] [--actions N] [--files N] [--seed N] [--json OUT]
[--short]``

Actions are random Unicode (including lone surrogates and control characters), slightly changed commands, and
admissible commands. No action may raise. An action that is not admissible must be marked invalid, be answered
with "Nothing happens." and change neither the hash of the state nor the list of admissible commands.

Files are truncated, overwritten or reworded, bits are flipped, keys are missing or have a wrong type, and
brackets are nested 100,000 deep. Reading a damaged file must either raise ``GameFileError`` with the file and
(unless the whole file is not a JSON object) the field, or give a game with another content hash, which is
then played for some steps. A change that does not affect play, such as one in a comment, gives the same game
and is drawn again; such changes are counted separately.

Without ``--games``, a folder of official games, generated games are used. The last line has the number of
problems; the exit code is 1 if there is any. ``--short`` plays 100,000 actions.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  # registers the environments
from benchmarks.alfworld.fuzz_inputs import CORRUPTIONS, random_action
from benchmarks.output import write_result
from stepopsd_envs.alfworld import Engine, GameFileError, load_game
from stepopsd_envs.alfworld.engine import NOTHING_HAPPENS
from stepopsd_envs.alfworld.export import export_game
from stepopsd_envs.alfworld.generator import generate_game

ACTIONS, SHORT_ACTIONS, FILES = 1_000_000, 100_000, 200
GAMES = 40  # more games would not add variety
SEEN = 5_000  # commands kept to be tried in other states
STEPS_ON_A_DAMAGED_GAME = 60
SHOWN = 5


def fuzz_actions(files: Sequence[Path], count: int, seed: int) -> dict[str, Any]:
    """Play ``count`` random actions; return figures, with the problems under "found"."""
    rng = random.Random(f"actions {seed}")
    env: gym.Env[Any, str] = gym.make("stepopsd/ALFWorld-v0", games=list(files))
    found: list[str] = []
    valid, seen, info = 0, ["look"], env.reset(seed=seed)[1]
    over = False
    for _ in range(count):
        if over:
            info = env.reset()[1]
        admissible = info["admissible_commands"]
        seen[rng.randrange(SEEN) if len(seen) >= SEEN else len(seen) :][:1] = [rng.choice(admissible)]
        action: Any = random_action(rng, admissible, seen)
        try:
            text, _, terminated, truncated, after = env.step(action)
        except Exception as error:
            found.append(f"step({action!r:.200}) raised {type(error).__name__}: {error}")
            info, over = env.reset()[1], False
            continue
        problem = _problem(action, admissible, info, text, after)
        if problem:
            found.append(f"step({action!r:.200}): {problem}")
        valid += after["step"]["valid"]
        info, over = after, terminated or truncated
    return {"actions": count, "valid": valid, "found": found}


def _problem(action: Any, admissible: list[str], before: Any, text: str, after: Any) -> str:
    """The rule that a step broke; empty if none."""
    possible = isinstance(action, str) and action.strip() in admissible
    if after["step"]["valid"] != possible:
        return f"valid is {after['step']['valid']}"
    if possible:
        return ""
    if after["step"]["state"] != before["step"]["state"] or after["admissible_commands"] != admissible:
        return "it was invalid and changed the state"
    return "" if text == NOTHING_HAPPENS else f"it was invalid and answered with {text!r}"


def fuzz_files(files: Sequence[Path], count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Read ``count`` damaged copies; return figures, with the problems under "found"."""
    rng = random.Random(f"files {seed}")
    outcomes: Counter[str] = Counter()
    found: list[str] = []
    number = 0
    while number < count:
        source, corrupt = rng.choice(files), CORRUPTIONS[number % len(CORRUPTIONS)]
        damaged = folder / "damaged" / source.parent.name / "game.tw-pddl"
        damaged.parent.mkdir(parents=True, exist_ok=True)
        damaged.write_bytes(corrupt(rng, source.read_bytes()))
        try:
            outcome = _read(damaged, load_game(source).content_hash, rng)
        except Exception as error:
            outcome = "another exception"
            found.append(f"file {number} ({corrupt.__name__}) raised {type(error).__name__}: {error!s:.300}")
        if outcome == "unnamed":
            found.append(f"file {number} ({corrupt.__name__}): the error does not name file and field")
        outcomes[outcome] += 1
        number += outcome != "same game"
    return {"files": number, "outcomes": dict(sorted(outcomes.items())), "found": found}


def _read(damaged: Path, content_hash: str, rng: random.Random) -> str:
    """The outcome of reading a damaged file; if it gives another game, play it."""
    try:
        game = load_game(damaged)
    except GameFileError as error:
        whole = error.problem.startswith(("is not JSON", "expected a JSON object"))
        return "refused" if error.path == str(damaged) and (error.field or whole) else "unnamed"
    if game.content_hash == content_hash:
        return "same game"
    engine = Engine(game)
    engine.reset()
    for _ in range(STEPS_ON_A_DAMAGED_GAME):
        engine.step(rng.choice(engine.admissible_commands()))
        engine.state_hash()
    return "another game"


@contextmanager
def game_files(folder: Path | None) -> Iterator[tuple[list[Path], Path]]:
    """Game files (official ones below a folder, evenly chosen, or generated ones), and a scratch folder."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if folder is None:
            names = [(tier, n) for tier in ("tiny", "small", "full") for n in range(6)]
            games = {f"{tier}-{n}": generate_game(tier, "train", n) for tier, n in names}
            yield (
                [export_game(game, scratch / key / "game.tw-pddl") for key, game in games.items()],
                scratch,
            )
            return
        files = sorted(folder.rglob("game.tw-pddl"))
        if not files:
            raise FileNotFoundError(
                f"{folder}: holds no game.tw-pddl; give --games a folder of official games"
            )
        yield files[:: max(1, len(files) // GAMES)][:GAMES], scratch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.alfworld.fuzz", description="Random actions and files.")
    parser.add_argument("--games", type=Path, help="folder of official games; without it, generated ones")
    parser.add_argument("--actions", type=int, default=ACTIONS)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help=f"at most {SHORT_ACTIONS:,} actions")
    arguments = parser.parse_args(argv)
    count = min(arguments.actions, SHORT_ACTIONS) if arguments.short else arguments.actions
    try:
        with game_files(arguments.games) as (files, scratch):
            actions = fuzz_actions(files, count, arguments.seed)
            damaged = fuzz_files(files, arguments.files, arguments.seed, scratch)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = actions["found"] + damaged["found"]
    if arguments.json:
        figures = {"games": len(files), "seed": arguments.seed, "actions": actions, "files": damaged}
        write_result(arguments.json, figures, "python -m benchmarks.alfworld.fuzz --games DIR")
    for problem in found[:SHOWN]:
        print(problem)
    outcomes = damaged["outcomes"]
    print(
        f"{actions['actions']} actions, {actions['valid']} possible: {len(actions['found'])} problems; "
        f"{damaged['files']} damaged files: {outcomes.get('refused', 0)} refused by name, "
        f"{outcomes.get('another game', 0)} another game, {len(damaged['found'])} problems "
        f"({outcomes.get('same game', 0)} harmless changes drawn again)"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
