"""``stepopsd data``: are the official games there, are they the published ones, and how to get them."""

import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.run import progress
from stepopsd_agent.run.files import check_can_make, write_json_atomic
from stepopsd_envs.alfworld.official import (
    SPLITS,
    data_folder,
    is_left_out,
    list_folder,
    locate,
    task_type_of,
)
from stepopsd_envs.alfworld.release import PUBLISHED, SplitCheck, check_split
from stepopsd_envs.extras import install_command
from stepopsd_envs.manifest import GamesNotFoundError, TaskFile, canonical, fingerprint_files
from stepopsd_envs.user_path import user_path

HELP = "find the official games, compare them with the published ones, or download them"
USES: frozenset[str] = frozenset()
PROGRAM = "alfworld-download"
BY_HAND = (
    "or, by hand, get json_2.1.2_tw-pddl.zip from https://github.com/alfworld/alfworld/releases, the only "
    "file needed, and unpack it there"
)
Games = Mapping[str, Sequence[TaskFile]]


def add_flags(parser: Parser) -> None:
    """The data set, where it is, and what to do about it."""
    parser.description = (
        f"{parser.description} Exit code 0: all found are as published, be it a part of them; 1: some are "
        "not; 2: none found, or the download failed."
    )
    parser.usage = "stepopsd data alfworld [--data_root FOLDER] [--download] [--manifest FILE]"
    parser.add_argument("dataset", choices=["alfworld"], help="which games")
    parser.add_argument(
        "--data_root",
        type=str,
        metavar="FOLDER",
        help="folder that holds the splits (default: $ALFWORLD_DATA, else ~/.cache/alfworld)",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="get what is missing with alfworld-download (extra alfworld); takes gigabytes",
    )
    parser.add_argument(
        "--manifest",
        type=str,
        metavar="FILE",
        help="write the list of games, with the hash of each and the fingerprint of each split, as JSON",
    )


def run(settings: Namespace) -> int:
    """Find, verify, and on demand download; 1 when games are not as published."""
    root = data_folder(settings.data_root)
    if root.is_file():
        raise UsageError(f"{root} is a file; give the folder of the games, or one to make, with --data_root")
    target = None if settings.manifest is None else user_path(settings.manifest)
    if target is not None:
        check_can_make(target)
    splits = _found(root)
    if settings.download and any(len(splits.get(name, ())) < number for name, number in PUBLISHED.items()):
        _download(root)
        splits = _found(root)
    if not splits:
        raise UsageError(
            f"no official games below {root}. If they are elsewhere, name the folder with --data_root or in "
            f"ALFWORLD_DATA. Else run: {_command(root)}; {BY_HAND}"
        )
    playable = {
        name: canonical(file for file in files if not is_left_out(file)) for name, files in splits.items()
    }
    checks = [check_split(name, games) for name, games in playable.items()]
    print(_table(root, checks, sum(map(len, splits.values())) - sum(map(len, playable.values()))))
    if target is not None:
        write_json_atomic(target, manifest(playable))
        print(f"written to {settings.manifest}")
    return 0 if all(check.good for check in checks) else 1


def manifest(splits: Games) -> dict[str, Any]:
    """The canonical lists: id, task type and hash of every game, and the fingerprint of each split."""
    return {
        "schema": "stepopsd.games/1",
        "splits": {
            name: {
                "fingerprint": fingerprint_files(games),
                "games": [
                    {"id": game.task_id, "task_type": task_type_of(game), "digest": game.digest}
                    for game in games
                ],
            }
            for name, games in splits.items()
        },
    }


def _found(root: Path) -> dict[str, Sequence[TaskFile]]:
    """All game files of the splits that are there."""
    splits: dict[str, Sequence[TaskFile]] = {}
    for name in SPLITS:
        try:
            folder = locate(name, root)
        except GamesNotFoundError:
            continue  # said in the table
        with progress(None, f"reading {name}", unit="file") as bar:
            files = list_folder(folder, bar.advance)
        if files:
            splits[name] = files
    return splits


def _table(root: Path, checks: Sequence[SplitCheck], left_out: int) -> str:
    """One line per split, and what to do about what is missing."""
    lines = [f"official games below {root}", f"{'split':<13} {'games':>6}  {'fingerprint':<32}  verdict"]
    lines += [f"{check.split:<13} {check.found:>6,}  {check.fingerprint}  {check}" for check in checks]
    missing = [name for name in PUBLISHED if name not in {check.split for check in checks}]
    lines += [f"{name:<13} {0:>6}  {'':<32}  missing" for name in missing]
    if left_out:
        lines.append(f"{left_out:,} more files are left out, as ALFWorld does: unsolvable, movable, sliced")
    if not all(check.good for check in checks):
        lines.append(f"remove the folders of the games named, then run: {_command(root)}")
    elif missing or any(check.published and check.found < check.published for check in checks):
        lines.append(f"to get the rest, run: {_command(root)}")
    return "\n".join(lines)


def _command(root: Path) -> str:
    """The command that gets what is missing, into the folder that was looked at."""
    return f"stepopsd data alfworld --download --data_root {shlex.quote(str(root))}"


def _download(root: Path) -> None:
    """Run alfworld-download, which shows its own progress and goes on where it was stopped."""
    here = Path(sysconfig.get_path("scripts")) / PROGRAM
    program = str(here) if here.exists() else shutil.which(PROGRAM)
    if program is None:
        raise UsageError(
            f"{PROGRAM}, which fills {root}, is not installed: {install_command('alfworld')}, then run "
            f"this again; {BY_HAND}"
        )
    code = subprocess.run([program, "--data-dir", str(root)]).returncode
    if code:
        raise UsageError(
            f"{PROGRAM}, which fills {root}, ended with exit code {code}; what went wrong stands above. Run "
            f"this again, it goes on where it stopped; {BY_HAND}"
        )
