"""Arguments of environments that are of another type than they take: one error that says what they take."""

import os
from collections.abc import Iterable

import numpy as np


def require_path(name: str, value: object, allowed: str) -> None:
    """Raise ValueError if an argument is neither a text nor a path; ``allowed`` says what to give."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name}={value!r:.80}: give {allowed}")


def require_bools(**values: object) -> None:
    """Raise ValueError if one of these arguments is no bool: the text "False" would count as True."""
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name}={value!r:.80}: give True or False")


def texts_of(name: str, value: object, example: str) -> tuple[str, ...] | None:
    """The texts of an argument that takes None, one text or several.

    Raises:
        ValueError: it is nothing of these.
    """
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, Iterable) and not isinstance(texts, bytes):
        given = tuple(texts)
        if all(isinstance(text, str) for text in given):
            return given
    raise ValueError(f"{name}={value!r:.80}: give None, a text or a list of texts, such as [{example!r}]")
