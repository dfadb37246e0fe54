"""Names that may have been meant by one that there is not, and where a module may be that is not found."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

SHORTEST = 3
"""Letters from which on a beginning counts."""


def near_name(name: object, known: Iterable[str]) -> str | None:
    """The nearest of the names that there are, or the only one that begins so; None if there is none.

    Case does not count.
    """
    by_letters = {there.casefold(): there for there in known}
    given = str(name).casefold()
    begun = [there for there in by_letters if there.startswith(given)] if len(given) >= SHORTEST else []
    near = begun if len(begun) == 1 else get_close_matches(given, by_letters, n=1)
    return by_letters[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A hint to stand before the list of names, such as "did you mean 'train'? "; "" where none is near.

    Args:
        name: as given.
        known: the names that there are.
    """
    near = near_name(name, known)
    return f"did you mean {near!r}? " if near else ""


def import_named(module: str) -> ModuleType:
    """Import a module that somebody named.

    Raises:
        ModuleNotFoundError: there is none, or it is no name that a module could have, such as "" or ".mine".
        Exception: whatever the module raises.
    """
    if not all(module.split(".")):
        raise ModuleNotFoundError(f"no module can be named {module!r}", name=module)
    return import_module(module)


def module_hint(module: str, missing: str | None) -> str:
    """What to do where importing somebody's module finds one missing: it, or one that it imports.

    Args:
        module: the one that was named.
        missing: the one that is not found, `ModuleNotFoundError.name`.
    """
    if not all(module.split(".")):
        return "give it as Python's import would, such as package.module"
    if not module.startswith(str(missing)):
        return "install it"
    package = Path(*module.split("."))
    if package.with_suffix(".py").is_file() or package.is_dir():
        return "it is in this folder, which Python does not search: begin the command with PYTHONPATH=."
    return "put the folder it is in on PYTHONPATH"
