"""Names that may have been meant by one that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches

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
