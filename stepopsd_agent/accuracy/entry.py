"""The rows of a table of methods: a method with its settings each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

from stepopsd_agent import credit
from stepopsd_agent.credit import CreditMethod


@dataclass(frozen=True)
class Entry:
    """A row of the tables.

    Attributes:
        name: in the tables.
        method: registered name, or "module:name" of a method outside the package.
        settings: its fields, the others at their defaults.
    """

    name: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()

    def make(self) -> CreditMethod:
        """The method.

        Raises:
            ValueError: there is no such method, it has no such field, or the field no such value.
        """
        try:
            return credit.make(self.method, **dict(self.settings))
        except TypeError as error:  # settings are text that somebody typed
            raise ValueError(str(error)) from error


SKIPPED = {
    "vine": "its values are the ground truth for the others",
    "igpo": "gold answers exist for Search-QA only",
    "oracle": "an upper bound, shown among the controls",
    "tigpo": "recordings are of one update, without a past, where it equals graph_gpo",
}


FURTHER = {
    "path_gain": [Entry("path_gain, lifted", "path_gain", (("lifted", True),))],
    "step_opsd": [Entry("step_opsd, step_norm none", "step_opsd", (("step_norm", "none"),))],
}
"""Settings that are judged beside the default ones, by method."""


def entries(names: Sequence[str] | None = None) -> list[Entry]:
    """The named methods, or all registered ones but `SKIPPED`, each with its variants.

    A method with a `key` has a row for each key, one with an `objective` has the one on the sampled tokens;
    `FURTHER` has more.

    Args:
        names: of methods; a name with settings, as in "path_gain gamma=0.5 ways=false", is that variant
            alone.

    Raises:
        ValueError: there is no such method, or a setting does not read field=value.
    """
    variants = []
    for place, name in enumerate(names or [name for name in credit.names() if name not in SKIPPED]):
        method, *settings = name.split()
        if "=" in method:  # a shell gives settings without quotes as a further name
            before = names[place - 1] if names and place else "METHOD"
            raise ValueError(
                f"{method!r} is a setting, not a method; one pair of quotes belongs around a method and its "
                f'settings: "{before} {name}"'
            )
        if settings:
            variants.append(Entry(name, method, tuple(_setting(text) for text in settings)))
            continue
        kinds = {spec.name: spec for spec in fields(credit.load(name))}
        if "key" in kinds:
            variants += [Entry(f"{name}, {key} keys", name, (("key", key),)) for key in KEYS]
        elif "objective" in kinds:
            variants.append(Entry(f"{name}, sampled", name, (("objective", "sampled"),)))
        else:
            variants.append(Entry(name, name))
        variants += FURTHER.get(name, [])
    return variants


KEYS = ("observation", "state", "text")


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not a setting; write field=value")
    return name, yaml.safe_load(value)
