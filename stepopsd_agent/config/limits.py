"""Smallest and largest values of settings, kept at their fields, and the check that reads them."""

from dataclasses import field, fields, is_dataclass
from math import inf, isfinite
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Number = TypeVar("Number")

_KINDS: dict[Any, tuple[Any, str]] = {
    int: (int | float, "a number"),
    float: (int | float, "a number"),
    str: (str, "text"),
    bool: (bool, "true or false"),
    list: (list | tuple, "a list, such as [first, second]"),
    dict: (dict, "settings by name"),
}
"""Of what type a field is annotated with: what its value has to be, and how that is called."""


def at_least(
    least: float, default: Number, *, most: float = inf, infinite: bool = False, above: bool = False
) -> Number:
    """A dataclass field with this default; `check_values` refuses values below ``least`` or above ``most``.

    Where it is a bound, ``infinite`` lets infinity switch it off; with ``above`` the least is refused itself.
    """
    facts = {"least": least, "most": most, "infinite": infinite, "above": above}
    made: Number = field(default=default, metadata=facts)
    return made


def check_values(section: Any, path: str = "") -> None:
    """Check a dataclass of settings, and those inside it, against what their fields allow.

    Args:
        section: the settings.
        path: put before the names in messages, such as "learner.".

    Raises:
        ValueError: a value is of another kind than its field, such as null where it may not be absent, or a
            number is below its smallest value or above its largest, or a word is none of the choices.
    """
    hints = get_type_hints(type(section))
    for spec in fields(section):
        value, least, choices = getattr(section, spec.name), spec.metadata.get("least"), hints[spec.name]
        if is_dataclass(value):
            check_values(value, f"{path}{spec.name}.")
        elif is_dataclass(choices):
            example = fields(choices)[0].name
            name = f"{path}{spec.name}"
            raise ValueError(f"{name} is {value!r:.60}; give its settings by name, such as {name}.{example}")
        if not (spec.metadata.get("infinite") and value == inf):
            check_kind(f"{path}{spec.name}", value, choices)
        if least is not None and isinstance(value, int | float) and value < least:  # not "auto", not absent
            raise ValueError(f"{path}{spec.name} is {value}; the smallest value is {least}")
        if spec.metadata.get("above") and value == least:
            off = "; inf switches it off" if spec.metadata["infinite"] else ""
            raise ValueError(f"{path}{spec.name} is {value}; give more than {least}{off}")
        if isinstance(value, int | float) and value > spec.metadata.get("most", inf):
            raise ValueError(f"{path}{spec.name} is {value}; the largest value is {spec.metadata['most']}")
        if get_origin(choices) is Literal and value not in get_args(choices):
            allowed = ", ".join(map(str, get_args(choices)))
            raise ValueError(f"{path}{spec.name} is {value!r}; allowed are {allowed}")


def check_kind(name: str, value: Any, annotation: Any) -> None:
    """Raise ValueError for a number that is not finite, or a value of another kind than annotated.

    Fields of several kinds are judged as numbers alone.
    """
    kind, expected = _KINDS.get(get_origin(annotation) or annotation, (object, ""))
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.60}; give {expected}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name} is {value!r}; give a finite number")
