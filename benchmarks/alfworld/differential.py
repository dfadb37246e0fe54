"""Play games on the native ALFWorld engine and on the original, and compare every answer.

``python -m benchmarks.alfworld.differential [--data-root DIR] [--json OUT] [--short]`` plays 60 generated
games and, below DIR (the folder or the archive of the official games), 60 official games of valid_unseen and
train. The commands are seeded, include malformed ones and continue after the goal is reached. The native
engine's answers (observation, admissible commands, won, done) are compared with those of TextWorld recorded
in ``differential.hashes.json``, which has a hash of the content and of all answers for each game.

``--textworld`` plays every game on TextWorld as well (extra ``alfworld``; ten minutes) and compares the
answers one by one, including the hash of the state. ``--record`` does this for games that are not recorded
with their current content and saves the hashes after each game; an interrupted recording resumes where it
stopped.

The last line has the figures. The exit code is 0 if nothing differs, 1 if something does, and 2 for input
that cannot be read. ``--short`` plays every sixth game.
"""

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.alfworld.commands import Player
from benchmarks.alfworld.parity import InputError, games_folder
from benchmarks.output import write_result
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_envs.alfworld import Engine, GameFileError, load_game
from stepopsd_envs.alfworld.generator import SPLITS, TIERS, generate_game
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.official import GAME_FILE, find_files
from stepopsd_envs.alfworld.pools import GENERATED
from stepopsd_envs.alfworld.textworld_backend import TextworldEngine
from stepopsd_envs.manifest import GamesNotFoundError

HASHES = Path(__file__).with_name("differential.hashes.json")
SCHEMA = "stepopsd.differential/1"
OFFICIAL_SPLITS = ("train", "valid_unseen")
PER_SPLIT = 30  # official games
PER_TIER = 10  # generated games of each tier and split
SHORT_STRIDE = 6
SHOWN_DIFFERENCES = 5


class Chosen(NamedTuple):
    """A game to play, and the seed of its commands."""

    seed: int
    game: Game
    file: Path | None  # None: generated


class Answer(NamedTuple):
    """The values compared after a reset or a command."""

    observation: str
    admissible: list[str]
    won: bool
    done: bool


class Played(NamedTuple):
    """Result of one game: number of commands, hash of all answers, differences between the engines."""

    commands: int
    hash: str
    reached: bool  # whether the goal was reached at any time
    differences: list[str]


class Figures(NamedTuple):
    """Totals over all games."""

    official: int
    generated: int
    commands: int
    goals_reached: int
    differences: list[str]


def play(chosen: Chosen, with_textworld: bool) -> Played:
    """Play a game on the native engine; with TextWorld, play it there as well and note the differences."""
    native, player = Engine(chosen.game), Player(chosen.seed, chosen.game.walkthrough)
    original = TextworldEngine(chosen.game, chosen.file) if with_textworld else None
    digest = blake2b(digest_size=16)
    differences: list[str] = []
    count, reached = 0, False
    answer = _native_answer(native, native.reset())
    if original:
        differences += _compare("reset", answer, _original_answer(original, original.reset()))
    _add(digest, "reset", answer)
    for planned in player.commands():
        command = player.choose(planned, answer.admissible)
        answer = _native_answer(native, native.step(command))
        if original:
            differences += _compare(command, answer, _original_answer(original, original.step(command)))
            if native.state_hash() != original.state_hash():
                differences.append(f"{command!r}: the states differ")
        _add(digest, command, answer)
        count, reached = count + 1, reached or answer.won
    where = f"{chosen.game.task_id}, seed {chosen.seed}"
    return Played(count, digest.hexdigest(), reached, [f"{where}: {line}" for line in differences])


def compare(games: Iterable[Chosen], recorded: dict[str, Any], with_textworld: bool) -> Figures:
    """Play games and compare them with the recorded hashes, and optionally with TextWorld."""
    official = generated = commands = reached = 0
    differences: list[str] = []
    for chosen in games:
        played = play(chosen, with_textworld)
        differences += played.differences or _differs_from(recorded.get(chosen.game.task_id), chosen, played)
        official, generated = official + (chosen.file is not None), generated + (chosen.file is None)
        commands, reached = commands + played.commands, reached + played.reached
    return Figures(official, generated, commands, reached, differences)


def record(games: Sequence[Chosen], path: Path) -> list[str]:
    """Play the games whose current content is not recorded, and record those on which the engines agree.

    Records of other games are dropped; but records of official games are kept if ``games`` has no official
    ones.
    """
    known = read_hashes(path)["games"] if path.exists() else {}
    names = {chosen.game.task_id for chosen in games}
    if all(chosen.file is None for chosen in games):
        names |= {name for name in known if not _is_generated(name)}
    kept = {name: entry for name, entry in known.items() if name in names}
    differences: list[str] = []
    for chosen in games:
        name, content = chosen.game.task_id, chosen.game.content_hash
        if name in kept and (kept[name]["content"], kept[name]["seed"]) == (content, chosen.seed):
            continue
        played = play(chosen, with_textworld=True)
        differences += played.differences
        if not played.differences:
            entry = {"seed": chosen.seed, "commands": played.commands, "content": content}
            kept[name] = entry | {"answers": played.hash}
            _write_hashes(path, kept)
            print(f"recorded {name}", flush=True)
    _write_hashes(path, kept)
    return differences


def read_hashes(path: Path) -> dict[str, Any]:
    """Read the recorded hashes.

    Raises:
        InputError: the file cannot be read, or is of another kind.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); record the hashes again with --record"
        ) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("games"), dict):
        raise InputError(f"{path}: is not a {SCHEMA} file; record the hashes again with --record")
    return data


def official_games(root: Path) -> list[Chosen]:
    """Games spread evenly over the sorted lists of two splits, and so over task types and houses."""
    chosen = []
    for number, split in enumerate(OFFICIAL_SPLITS):
        files = find_files(root / split)
        for place in range(min(PER_SPLIT, len(files))):
            file = files[place * len(files) // PER_SPLIT if len(files) >= PER_SPLIT else place]
            seed = 1000 + PER_SPLIT * number + place
            chosen.append(Chosen(seed, load_game(file.path, file.task_id), Path(file.path)))
    return chosen


def recorded_games(root: Path, recorded: dict[str, Any]) -> list[Chosen]:
    """The recorded official games, read below ``root``."""
    files = {name: root / name / GAME_FILE for name in recorded if not _is_generated(name)}
    return [Chosen(recorded[name]["seed"], load_game(file, name), file) for name, file in files.items()]


def _is_generated(name: str) -> bool:
    return name.startswith(f"{GENERATED}/")


def generated_games() -> list[Chosen]:
    """Games of every tier, split and task type."""
    ids = [(tier, split, n) for tier in TIERS for split in SPLITS for n in range(PER_TIER)]
    return [Chosen(seed, generate_game(*parts), None) for seed, parts in enumerate(ids)]


def _native_answer(engine: Engine, observation: str) -> Answer:
    return Answer(observation, engine.admissible_commands(), engine.won, engine.won)


def _original_answer(engine: TextworldEngine, observation: str) -> Answer:
    return Answer(observation, engine.admissible_commands(), engine.won, engine.done)


def _compare(command: str, native: Answer, original: Answer) -> Iterator[str]:
    for name, got, expected in zip(Answer._fields, native, original, strict=True):
        if got != expected:
            yield f"{command!r}: {name} is {got!r} natively, {expected!r} on TextWorld"


def _add(digest: "blake2b", command: str, answer: Answer) -> None:
    digest.update(json.dumps([command, *answer]).encode() + b"\n")


def _differs_from(entry: Any, chosen: Chosen, played: Played) -> list[str]:
    """The difference between a played game and its record; empty if there is none."""
    name = chosen.game.task_id
    if entry is None:
        return [f"{name}: is not recorded; add it with --record"]
    if (entry["content"], entry["seed"]) != (chosen.game.content_hash, chosen.seed):
        return [f"{name}: content or seed differ from the record (other data or generator); see --record"]
    if (entry["commands"], entry["answers"]) != (played.commands, played.hash):
        return [f"{name}: the answers differ from the recorded ones; --textworld shows where"]
    return []


def _write_hashes(path: Path, games: dict[str, Any]) -> None:
    versions = {name: importlib.metadata.version(name) for name in ("alfworld", "textworld")}
    write_json_atomic(path, {"schema": SCHEMA, "versions": versions, "games": dict(sorted(games.items()))})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.alfworld.differential", description="Compare the native engine with TextWorld."
    )
    parser.add_argument("--data-root", type=Path, help="folder of the official games, or its archive")
    parser.add_argument("--textworld", action="store_true", help="play on TextWorld as well")
    parser.add_argument("--record", action="store_true", help="play on TextWorld and write the hashes")
    parser.add_argument("--hashes", type=Path, default=HASHES, help="the recorded hashes")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help=f"every {SHORT_STRIDE}th game only")
    return parser


def _run(arguments: argparse.Namespace) -> Figures:
    place = games_folder(arguments.data_root) if arguments.data_root else nullcontext(None)
    with place as root:
        if arguments.record:
            games = [*(official_games(root) if root else []), *generated_games()]
            differences = record(games, arguments.hashes)
            if differences:
                return Figures(0, 0, 0, 0, differences)
        recorded = read_hashes(arguments.hashes)["games"]
        games = [*(recorded_games(root, recorded) if root else []), *generated_games()]
        stride = SHORT_STRIDE if arguments.short else 1
        return compare(games[::stride], recorded, arguments.textworld)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        figures = _run(arguments)
        if arguments.json:
            write_result(
                arguments.json,
                figures._asdict(),
                "python -m benchmarks.alfworld.differential --data-root DIR",
            )
    except (InputError, GameFileError, GamesNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*figures.differences[:SHOWN_DIFFERENCES], sep="\n", end="\n" if figures.differences else "")
    games = f"{figures.official} official and {figures.generated} generated games"
    print(f"{games}, {figures.commands} commands, goal reached in {figures.goals_reached} games", end=", ")
    print(f"{len(figures.differences)} differences")
    return 1 if figures.differences else 0


if __name__ == "__main__":
    sys.exit(main())
