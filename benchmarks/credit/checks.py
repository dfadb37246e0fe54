"""What the commands of the credit benchmark check: before hours of work, and of runs that are there."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.credit.sets import PARTS, SETS
from stepopsd_agent.accuracy import Values, entries
from stepopsd_agent.config import WarmstartConfig
from stepopsd_agent.tasks import make_stack
from stepopsd_envs.extras import install_command


def check_methods(methods: Sequence[str]) -> None:
    """That all methods can be made.

    Args:
        methods: names, with settings after them.

    Raises:
        ValueError: the message says which one and why.
    """
    try:
        for entry in entries(methods) if methods else ():
            entry.make()
    except TypeError as error:  # it lacks a field
        raise ValueError(str(error)) from error


def check_training(methods: Sequence[str]) -> None:
    """That all methods can be made, and that the package is there which compares their runs.

    Args:
        methods: names, with settings after them.

    Raises:
        ValueError: the message says which method and why, or how the package is installed.
    """
    check_methods(methods)
    try:
        import rliable  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the table of the runs needs the extra bench; install it with: {install_command('bench')}"
        ) from error


def positive(text: str) -> int:
    """A whole number from 1, of an option of a command.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


def check_games(name: str) -> None:
    """That the tasks of a set are there, of both parts.

    Raises:
        ValueError: games are not found; the message says where they were looked for and how to get them.
    """
    chosen = SETS[name]
    env = chosen.settings().env
    for part in PARTS:
        make_stack(env.changed(**chosen.truth, **getattr(chosen, part))).close()


def check_groups(place: Path, groups: int) -> None:
    """A part that was recorded before must have as many groups as are asked for now.

    Raises:
        SystemExit: it has more or fewer: one recording is short, the other is not.
    """
    facts = place / "groups.json"
    found = json.loads(facts.read_text(encoding="utf-8"))["groups"] if facts.exists() else groups
    if found != groups:
        raise SystemExit(
            f"{place} has {found} groups, expected {groups}: a recording with --short and one without it are "
            f"of other policies; give another --out, or remove this one"
        )


def check_start(curves: Sequence[Sequence[tuple[int, float]]]) -> None:
    """All runs must have begun with the same success on the held-out tasks, as one policy has.

    Args:
        curves: the evaluations of each run, update and success.

    Raises:
        SystemExit: they began at different success.
    """
    begins = sorted({points[0][1] for points in curves})
    if len(begins) > 1:
        raise SystemExit(
            f"runs began at different success on the same held-out tasks ({begins}), so from different "
            f"policies: use the recordings of those runs, or leave --keep out"
        )


def check_evaluated(run: Path, found: Sequence[int], updates: int, every: int) -> None:
    """A finished run must have been evaluated as is asked for now: its folder does not tell how long it is.

    Args:
        run: its folder.
        found: the updates after which it was evaluated.
        updates: of a run.
        every: updates between evaluations.

    Raises:
        SystemExit: it has another length, or ended before its end, or was evaluated at other updates.
    """
    wanted = sorted({*range(0, updates + 1, every), updates})
    if list(found) != wanted:
        raise SystemExit(
            f"the run in {run} was evaluated after updates {list(found)}, expected {wanted}: give --updates "
            f"and --every of that run, or another --out, or remove its folder to train it again"
        )


def check_warm_start(model: Path, settings: WarmstartConfig) -> None:
    """A policy that was made before must have seen the demonstrations that are asked for now.

    Args:
        model: its folder.
        settings: of the warm start.

    Raises:
        SystemExit: it has seen more or fewer, as one of a short recording.
    """
    notes = model / "warmstart.json"
    if not notes.exists():  # a model from elsewhere
        return
    found, wanted = json.loads(notes.read_text(encoding="utf-8"))["config"]["warmstart"], vars(settings)
    for name in ("demonstrations", "passes", "novice_demonstrations"):
        if found[name] != wanted[name]:
            raise SystemExit(
                f"the policy in {model} was made with warmstart.{name} = {found[name]}, expected "
                f"{wanted[name]}: a short recording and a whole one begin with other policies; give another "
                f"--out, or remove this one"
            )


def check_attempts(place: Path, known: Sequence[Values], attempts: int) -> None:
    """Values that are there must come from as many attempts as are asked for now.

    Raises:
        SystemExit: they come from more or fewer, and halves of them would differ in noise.
    """
    found = sorted({len(returns) for values in known for returns in values.returns} - {attempts})
    if found:
        raise SystemExit(
            f"{place} has values from {', '.join(map(str, found))} attempts per state, expected {attempts}: "
            f"give --attempts {found[0]}, or move that file away"
        )
