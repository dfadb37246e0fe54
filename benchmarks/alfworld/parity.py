"""Compare the native ALFWorld engine word for word with transcripts of the original.

``python -m benchmarks.alfworld.parity --transcripts FILE --data-root DIR [--json OUT] [--short]`` plays every
game of FILE (JSON lines, gzipped or not) and compares each observation, list of admissible commands and
``won``, including those of the reset. DIR is the folder of the games or an archive of it. The first
differences are printed. The last line is like ``3892/3892 steps identical``; the exit code is 0 if nothing
differs, 1 if something does, and 2 for input that cannot be read. ``--short`` compares the first 20 games.
"""

import argparse
import gzip
import itertools
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.archives import unpack
from benchmarks.output import write_result
from stepopsd_envs.alfworld import Engine, GameFileError, load_game

SHORT_GAMES = 20
SHOWN_DIFFERENCES = 5


class InputError(ValueError):
    """A file of transcripts or a folder of games cannot be used."""


class Moment(NamedTuple):
    """The values compared after a reset or a step."""

    observation: str
    admissible: list[str]
    won: bool


class Difference(NamedTuple):
    """A difference between engine and transcript."""

    game: str
    step: int  # 0 is the reset
    command: str
    expected: Moment
    got: Moment


class Parity(NamedTuple):
    """Result of the comparison of all games."""

    games: int
    resets_identical: int
    steps: int
    steps_identical: int
    differences: list[Difference]
    load_seconds: float
    play_seconds: float


def compare(transcripts: Path, root: Path, max_games: int | None = None) -> Parity:
    """Play the games of a file of transcripts, which lie below ``root``, and compare.

    Raises:
        InputError: the file is not a file of transcripts, or the folder does not exist.
        GameFileError: a game cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give --data-root the folder or the archive of the games")
    load_seconds = play_seconds = 0.0
    differences: list[Difference] = []
    games = steps = 0
    for line in itertools.islice(read_transcripts(transcripts), max_games):
        started = time.perf_counter()
        engine = Engine(load_game(root / line["game"]))
        loaded = time.perf_counter()
        differences += compare_game(line, engine)
        play_seconds += time.perf_counter() - loaded
        load_seconds += loaded - started
        games, steps = games + 1, steps + len(line["steps"])
    if not games:
        raise InputError(f"{transcripts}: holds no games; give --transcripts a transcript file")
    bad_resets = sum(difference.step == 0 for difference in differences)
    identical = steps - len(differences) + bad_resets
    return Parity(games, games - bad_resets, steps, identical, differences, load_seconds, play_seconds)


def compare_game(line: dict[str, Any], engine: Engine) -> list[Difference]:
    """All differences in one game."""
    moments = [("reset", Moment(line["reset"], line["reset_adm"], False))]
    moments += [(step["a"], Moment(step["o"], step["adm"], step["won"])) for step in line["steps"]]
    differences = []
    for number, (command, expected) in enumerate(moments):
        observation = engine.step(command) if number else engine.reset()
        got = Moment(observation, engine.admissible_commands(), engine.won)
        if got != expected:
            differences.append(Difference(line["game"], number, command, expected, got))
    return differences


def read_transcripts(path: Path) -> Iterator[dict[str, Any]]:
    """Read and check the games in a file of transcripts.

    Raises:
        InputError: the file cannot be read, or a line has other fields.
    """
    try:
        with path.open("rb") as start:
            zipped = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                line = json.loads(text)
                if not _is_transcript(line):
                    raise InputError(
                        f"{path}: line {number} lacks one of the fields game, reset, reset_adm and steps"
                    )
                yield line
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give --transcripts a transcript file") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); copy it again") from error


def _is_transcript(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("steps"), list):
        return False
    kinds = {"a": str, "o": str, "adm": list, "won": bool}
    good = all(
        isinstance(step, dict) and all(isinstance(step.get(key), kind) for key, kind in kinds.items())
        for step in line["steps"]
    )
    strings = isinstance(line.get("game"), str) and isinstance(line.get("reset"), str)
    return good and strings and isinstance(line.get("reset_adm"), list)


@contextmanager
def games_folder(path: Path) -> Iterator[Path]:
    """The folder itself, or a temporary folder with the contents of an archive."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(path, Path(folder))
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(f"{path}: not an archive of games ({error}); give a folder or a tar") from error
        yield Path(folder)


def report(difference: Difference) -> str:
    """A difference as readable text."""
    lines = [f"{difference.game}, step {difference.step}, command {difference.command!r}:"]
    for name, expected, got in zip(Moment._fields, difference.expected, difference.got, strict=True):
        if isinstance(expected, list) and isinstance(got, list):
            missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
            lines += [f"  {name}: missing {missing}, not expected {extra}"] if expected != got else []
        elif expected != got:
            lines += [f"  {name}: expected {expected!r}", f"  {' ' * len(name)}       got {got!r}"]
    return "\n".join(lines)


def as_json(parity: Parity) -> dict[str, Any]:
    """The figures for ``--json``."""
    figures = parity._asdict() | {"differences": [report(one) for one in parity.differences[:100]]}
    return figures | {"load_ms_per_game": 1000 * parity.load_seconds / parity.games}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.alfworld.parity",
        description="Compare the native engine with transcripts of TextWorld.",
    )
    parser.add_argument(
        "--transcripts", type=Path, required=True, help="JSON lines of the original's answers"
    )
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the games, or its archive")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help=f"the first {SHORT_GAMES} games only")
    arguments = parser.parse_args(argv)
    try:
        with games_folder(arguments.data_root) as root:
            parity = compare(arguments.transcripts, root, SHORT_GAMES if arguments.short else None)
        if arguments.json:
            command = "python -m benchmarks.alfworld.parity --transcripts FILE --data-root DIR"
            write_result(arguments.json, as_json(parity), command)
    except (InputError, GameFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for difference in parity.differences[:SHOWN_DIFFERENCES]:
        print(report(difference))
    print(f"{parity.resets_identical}/{parity.games} opening texts identical", end=", ")
    print(f"{1000 * parity.load_seconds / parity.games:.1f} ms to load a game")
    print(f"{parity.steps_identical}/{parity.steps} steps identical")
    return 1 if parity.differences else 0


if __name__ == "__main__":
    sys.exit(main())
