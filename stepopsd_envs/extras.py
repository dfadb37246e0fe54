"""How optional parts of this project are installed: the one place that knows the command."""

import shlex
from pathlib import Path

SOURCE = Path(__file__).parents[1]
"""The folder that has these packages: a checkout, or where pip put them."""

OWN_VERSIONS = frozenset({"openenv", "trackio", "verifiers", "verl", "vllm"})
"""Extras that want other versions than constraints.txt has, so they are installed without it."""


def install_command(extra: str | None = None, source: Path = SOURCE) -> str:
    """The command that installs an extra.

    A checkout is installed in place, with the versions that were tested. Anywhere else the package is there
    already, so pip only adds what the extra needs.

    Args:
        extra: its name in ``setup.cfg``; None for what every installation has.
        source: a checkout, or a folder of installed packages.
    """
    more = f"[{extra}]" if extra else ""
    if not (source / "setup.cfg").is_file():
        return f"pip install {shlex.quote(f'stepopsd{more}')}"
    tested = "" if extra in OWN_VERSIONS else f"-c {shlex.quote(str(source / 'constraints.txt'))} "
    return f"pip install {tested}-e {shlex.quote(f'{source}{more}')}"
