"""JSON lines with an exact round trip; a value that JSON cannot represent raises and names its field.

This module avoids two traps of Python's `json`. First, `json` writes NaN and infinity, which are not JSON:
here they are refused. Second, when `json` reads two adjacent escapes of lone surrogates, it joins them into
one character. So a written line has one U+FFFF between the two (one more if there are some already), which is
removed on reading. The round trip is thus exact for every Python string.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_LONE_PAIR = re.compile("([\ud800-\udbff]\uffff*)(?=[\udc00-\udfff])")
_KEPT_APART = re.compile("([\ud800-\udbff]\uffff*)\uffff(?=[\udc00-\udfff])")
_ESCAPED_PAIR = re.compile(r"\\ud[89ab]..(?:\\uffff)*\\ud[c-f]..")


class EpisodeFormatError(ValueError):
    """A value cannot be recorded, or a recorded line cannot be read."""


def plain_copy(value: object, field: str) -> Any:
    """Return a deep copy of `value`, which must consist of JSON types only.

    Tuples are refused too: they would be read back as lists.

    Args:
        value: the value to record.
        field: name of the value, for the error message.

    Raises:
        EpisodeFormatError: a part of `value` is not of a JSON type; the message names its field.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise EpisodeFormatError(
            f"{field}: got {value}, but only finite numbers can be recorded; give one, or leave it out"
        )
    if isinstance(value, list):
        return [plain_copy(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, field): plain_copy(item, f"{field}.{key}") for key, item in value.items()}
    raise EpisodeFormatError(
        f"{field}: got {type(value).__module__}.{type(value).__qualname__}, but only str, int, float, bool, "
        "None, list and dict can be recorded; convert it in the environment"
    )


def _key(key: object, field: str) -> str:
    if isinstance(key, str):
        return key
    raise EpisodeFormatError(
        f"{field}: got the key {key!r}, but keys must be strings; convert it in the environment"
    )


def check_numbers(values: Sequence[object], allowed: tuple[type, ...], where: str) -> None:
    """Refuse a list with something else than finite numbers of these types.

    Raises:
        EpisodeFormatError: the message names the first of them by its place in `where`.
    """
    if set(map(type, values)) <= {int}:
        return  # the common case is thousands of ids: decided without a Python-level loop
    for i, value in enumerate(values):
        if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise EpisodeFormatError(
                f"{where}[{i}]: got {value!r} ({type(value).__name__}), expected a finite {names}"
            )


def as_unicode(text: str) -> str:
    """The text with U+FFFD for half surrogate pairs, which no UTF-8 file and no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def dump_line(value: object) -> str:
    """Return `value` (JSON types only) as one line of ASCII without the newline."""
    line = _dumps(value)
    # Characters beyond the BMP match as well: the walk then changes nothing.
    return _dumps(_map_strings(value, _keep_apart)) if _ESCAPED_PAIR.search(line) else line


def load_line(line: str) -> Any:
    """Return the value that `dump_line` wrote as `line`.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        value = _DECODER.decode(line)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return _map_strings(value, _join_again) if r"\uffff" in line else value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _keep_apart(text: str) -> str:
    return _LONE_PAIR.sub("\\1\uffff", text)


def _join_again(text: str) -> str:
    return _KEPT_APART.sub("\\1", text)


def _map_strings(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _map_strings(item, change) for key, item in value.items()}
    return value
