"""What the commands of the credit benchmark check before they begin hours of work."""

from collections.abc import Sequence

from benchmarks.credit.sets import PARTS, SETS
from stepopsd_agent.accuracy import entries
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


def check_games(name: str) -> None:
    """That the tasks of a set are there, of both parts.

    Raises:
        ValueError: games are not found; the message says where they were looked for and how to get them.
    """
    chosen = SETS[name]
    env = chosen.settings().env
    for part in PARTS:
        make_stack(env.changed(**chosen.truth, **getattr(chosen, part))).close()
