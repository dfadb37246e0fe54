"""Config files: YAML in which `off` is a word and an empty section stands for its defaults."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import set_loader
from jsonargparse._loaders_dumpers import get_yaml_default_loader

from stepopsd_agent.config import RunConfig, recipe, recipe_names, recipes_near
from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.user_path import user_path

MERGE = "tag:yaml.org,2002:merge"
"""Tag of `<<`, which may be there several times."""
MOST_VALUES = 100_000
"""In a file, with what aliases repeat; far more than settings are."""
MODE = "stepopsd_settings"
"""Name under which jsonargparse knows the loader of this file."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: only true and false are booleans, 1e-6 is a number, and a date is a text.

    Whole numbers are decimal, with leading zeros too, as flags read them; 0o17 is octal and 0x1f hexadecimal.

    A key that is there twice is an error, as in YAML 1.2: the first would be dropped without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse keys that are there twice, naming the second's line."""
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.tag != MERGE:
                line = key.start_mark.line + 1
                raise ValueError(f"{key.value} is there twice, the second time in line {line}; join the two")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_CHANGED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _CHANGED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_NUMBER = r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile("(?:[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _whole(str(node.value)))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"({_NUMBER})$"), list("-+0123456789."))


def _whole(digits: str) -> int:
    """The number that these digits stand for; before them `0o` or `0x`, where they are not decimal."""
    return int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        ValueError: it is not YAML, or holds something else; the message names the file.
    """
    try:
        return _settings(_loaded(path.read_bytes().decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a config file: it is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path} is not a config file: {error}; correct it and try again") from error


def is_config(word: str) -> bool:
    """Whether a word of the command line is a recipe's name, or a YAML file's."""
    return word in recipe_names() or word.endswith((".yaml", ".yml"))


def named_files(arguments: Sequence[str]) -> list[str]:
    """The arguments with a path in place of a recipe's name after ``--config``; a file of that name wins.

    Raises:
        ValueError: there is neither a file nor a recipe.
    """
    out = list(arguments)
    for place, argument in enumerate(out):
        flag, equals, value = argument.partition("=")
        where = place if equals else place + 1
        if flag != "--config" or where == len(out):
            continue
        name = value if equals else out[where]
        if user_path(name).is_dir():
            raise ValueError(f"--config {name} is a folder; give the file in it, such as a run's config.yaml")
        _require_readable(user_path(name))
        if user_path(name).exists() or name.startswith("-"):
            continue  # the parser says what else is wrong
        if name not in recipe_names():
            raise ValueError(f"--config {name}: no such file, and no recipe: {recipes_near(name)}")
        out[where] = f"--config={recipe(name)}" if equals else str(recipe(name))
    return out


def shortest_name(file: str) -> str:
    """What to give ``--config`` for a file, in advice: the recipe's name where it is one that goes by it."""
    for name in recipe_names():
        if recipe(name) == Path(file) and not user_path(name).exists():
            return name
    return file


def _require_readable(path: Path) -> None:
    """Refuse a pipe in a folder; what the shell gives, as in ``--config <(command)``, has a writer."""
    if path.exists() and path.parts[:2] not in (("/", "dev"), ("/", "proc")):
        try:
            plain_file(path)
        except OSError as error:
            raise ValueError(f"--config {path} cannot be read: {error.strerror}") from error


def use_loader(left_out: Collection[str] = ()) -> None:
    """Let jsonargparse read files and values in this way, in parsers of mode ``MODE``.

    Args:
        left_out: fields of the section ``credit`` to pass over in files.
    """

    def load(text: str, path: str | None = None) -> Any:
        """The content of a file, or the value of a flag, for which jsonargparse gives no path."""
        if path is None:
            words = yaml.safe_load(text)  # `--flag on` may mean true; where a word is asked for it is one
            return words if isinstance(words, bool) else yaml.load(text, Loader=_Loader)
        values = _settings(_loaded(text))
        if left_out and isinstance(values.get("credit"), Mapping):
            values["credit"] = {k: v for k, v in values["credit"].items() if k not in left_out}
        return values

    set_loader(MODE, load, exceptions=(yaml.YAMLError, ValueError))
    _read_numbers_alike(get_yaml_default_loader())  # type: ignore[no-untyped-call]


def _read_numbers_alike(loader: type[yaml.SafeLoader]) -> None:
    """Let another loader see numbers where this file's does.

    Where a number is asked for and a text was given, jsonargparse reads the text once more, with a loader of
    its own. By YAML 1.1, 1:30 is 90 there, and 0b11 is 3: neither a file nor a flag means that.
    """
    numbers = {f"tag:yaml.org,2002:{name}" for name in ("int", "float")}
    known = (loader.yaml_implicit_resolvers, _Loader.yaml_implicit_resolvers)
    loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in known[0].get(first, ()) if tag not in numbers]
        + [(tag, form) for tag, form in known[1].get(first, ()) if tag in numbers]
        for first in known[0].keys() | known[1].keys()
    }
    loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _whole(str(node.value)))


def _loaded(text: str) -> Any:
    """The content of a file.

    Raises:
        ValueError: it is nested without end or beyond any use, as by an alias within its own anchor.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
        inner, size = [content], 0
        while inner:
            value = inner.pop()
            size += 1
            inner += (
                [*value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else []
            )
            if size > MOST_VALUES:
                raise ValueError(
                    f"it has more than {MOST_VALUES:,} values, or an alias within its own anchor"
                )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return content


def _settings(content: Any) -> dict[str, Any]:
    if content is None:  # comments alone
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"got {content!r:.60}, not settings by name, such as `updates: 10`")
    values = _without_empty_sections(_nested(content), RunConfig)
    if values.get("credit", values) is None:
        del values["credit"]
    if not isinstance(
        value := values.get("credit", {}), Mapping | str
    ):  # of no class here: its method has one
        raise ValueError(f"credit is {value!r:.60}; give its settings by name, such as credit.method")
    return values


def _nested(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with `learner.lr: 1` as `learner: {lr: 1}`.

    Raises:
        ValueError: a setting is there in both ways; one would be dropped without a word.
    """
    values = dict(content)
    for name in content:
        *sections, last = name.split(".")
        at = values
        for section in sections:
            inner = at.get(section)
            if inner is not None and not isinstance(inner, Mapping):
                raise ValueError(
                    f"{section} is {inner!r:.60}, and {name} is there, too; leave one of them out"
                )
            at[section] = dict(inner or {})
            at = at[section]
        if sections and last in at:
            raise ValueError(f"{name} is there twice, once within {sections[-1]}; leave one of them out")
        if sections:
            at[last] = values.pop(name)
    return values


def _without_empty_sections(values: Mapping[str, Any], kind: type, prefix: str = "") -> dict[str, Any]:
    """Leave out sections whose settings are all commented out: they are null, and mean the defaults.

    Raises:
        ValueError: a section is a list, number or truth value; jsonargparse takes some for the section.
    """
    hints = get_type_hints(kind)
    found = {spec.name: _section(hints[spec.name]) for spec in fields(kind)}
    sections = {name: section for name, section in found.items() if section is not None}
    kept = {name: value for name, value in values.items() if name not in sections or value is not None}
    for name, section in sections.items():
        value = kept.get(name, {})
        if isinstance(value, Mapping):
            inner = _without_empty_sections(value, section, f"{prefix}{name}.")
            kept |= {name: inner} if name in kept else {}
        elif not isinstance(value, str):
            example = f"{prefix}{name}.{fields(section)[0].name}"
            raise ValueError(f"{prefix}{name} is {value!r:.60}; give its settings by name, such as {example}")
    return kept


def _section(hint: Any) -> Any:
    """The class of a section, also of one that may be null; None for a value."""
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
