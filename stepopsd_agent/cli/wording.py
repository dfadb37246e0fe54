"""Values that a setting may have, in words: for help, and for errors about other values."""

import re
from argparse import Action
from collections.abc import Sequence
from copy import copy
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

from stepopsd_envs.near_names import did_you_mean, near_name

_PROBLEM = re.compile(r'Parser key "(?P<key>[^"]+)":.*(?:Got|Given) value: (?P<value>.*)$', re.DOTALL)
_NO_SECTION = re.compile(r"""Parser key "(?P<key>[^"]+)": Unable to load config (['"])(?P<value>.*?)\2""")
_CHOICE = re.compile(
    r"argument (?P<name>[^:]+): invalid choice: '?(?P<value>.*?)'? \(choose from (?P<choices>.*)\)", re.DOTALL
)
_FACTS = re.compile(r" \((?:type: .*?)?(?:(?:^|, |(?<=\())default: (?P<default>[^()]*))?\)$", re.DOTALL)
_DEFAULT = re.compile(r" \(default: ([^()]*)\)$")
_REQUIRED = re.compile(r"\(required, type: [^()]*?(?:, (default: [^()]*))?\)$")
_PARTS = re.compile(r"[\[({][^\])}]*[\])}]\S*|\S+")
_SENTENCE = re.compile(r"(?<=[\w)\"`])\.\s+(?=[A-Z`\"])")
_EXAMPLES = {str: "[first, second]", int: "[1, 2]", float: "[0.5, 2]"}
_KINDS = {bool: "true|false", int: "INT", float: "FLOAT", str: "TEXT"}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}


class HelpFormatter(DefaultHelpFormatter):
    """Help without type annotations of Python, without defaults that are nothing, each default once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)  # type: ignore[no-untyped-call]

    def _format_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None) -> str:
        """A usage that is given, wrapped between its parts; argparse prints it as it is."""
        if usage is None:
            return str(super()._format_usage(usage, actions, groups, prefix))
        text = f"{'usage: ' if prefix is None else prefix}{usage}"
        return "\n".join(_wrapped(line, self._width) for line in text.split("\n")) + "\n\n"

    def _expand_help(self, action: Action) -> str:
        return plain_help(str(super()._expand_help(action)))

    def _format_action_invocation(self, action: Action) -> str:
        """Without the second form of a list's flag, ``--name+``."""
        shown = copy(action)
        shown.option_strings = [option for option in action.option_strings if not option.endswith("+")]
        return str(super()._format_action_invocation(shown))


class BriefHelpFormatter(HelpFormatter):
    """Defaults stand in brackets, without the word, so that most flags take one line."""

    def _expand_help(self, action: Action) -> str:
        return _DEFAULT.sub(r" [\1]", super()._expand_help(action))


def _wrapped(line: str, width: int) -> str:
    """A line of usage broken before a part that does not fit, which may be several words in brackets."""
    lines = [""]
    for part in _PARTS.findall(line):
        if lines[-1] and len(lines[-1]) + 3 + len(part) > width:
            lines.append(f"{'':6}")
        lines[-1] += f" {part}" if lines[-1] else part
    return (" \\\n" if line.startswith("example: ") else "\n").join(lines)  # an example can be copied


def plain_help(text: str) -> str:
    """The help of one flag as jsonargparse makes it, without types and code marks, and with one default."""
    text = _REQUIRED.sub(lambda found: f"({found[1] or 'required'})", text)
    facts = _FACTS.search(text)
    plain, default = (text[: facts.start()], facts["default"]) if facts else (text, None)
    plain = plain.replace("``", "").rstrip().removesuffix(".")
    shown = default in (None, "null") or "(default:" in plain
    return plain if shown else f"{plain} (default: {default})"


def first_sentence(text: str) -> str:
    """The first sentence of a help text, without its full stop."""
    return _SENTENCE.split(text, maxsplit=1)[0].removesuffix(".")


def kind(annotation: Any) -> str | None:
    """The values of a setting in one word, for its help; None where the help shows the choices."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kinds = [kind(part) for part in arguments if part is not NoneType]
        return None if None in kinds else "|".join(dict.fromkeys(str(part) for part in kinds))
    return None if origin is Literal else "LIST" if origin in (list, tuple) else _KINDS.get(annotation)


def worded(message: str, types: dict[str, Any]) -> str:
    """A parser's message about a value that is not allowed, with what is instead of type names.

    Args:
        message: of jsonargparse; others are returned as they are.
        types: annotation of every setting, by its key.
    """
    if (section := _NO_SECTION.search(message)) and (
        names := [name for name in types if name.startswith(f"{section['key']}.")]
    ):
        example = next((name for name in names if not name.endswith(".help")), names[0])
        return (
            f"{section['key']} is {section['value']!r}, one value for a section; give its settings by name, "
            f"such as {example}, or the path of a YAML file that has them"
        )
    if choice := _CHOICE.search(message):
        choices = [name.strip("'") for name in choice["choices"].split(", ")]
        hint = did_you_mean(choice["value"], choices)
        return f"{choice['name']} is {choice['value']!r}: {hint}give {_joined(choices)}"
    problem = _PROBLEM.search(message)
    if problem is None or problem["key"] not in types:
        return message
    key, value = problem["key"], problem["value"].strip()
    hint = did_you_mean(value, _choices(types[key]))
    return f"{key}: got {'null' if value == 'None' else value}; {hint}give {allowed(types[key])}"


def _choices(annotation: Any) -> list[str]:
    """The texts that a setting may be, as far as they are listed."""
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if isinstance(choice, str)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def allowed(annotation: Any) -> str:
    """Values of this type in words, with an example where their form is not plain."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _joined([str(choice) for choice in arguments])
    if origin in (Union, UnionType):
        return _joined([allowed(part) for part in arguments])
    if origin in (list, tuple):
        return f'a list, such as "{_EXAMPLES.get(arguments[0], "[...]") if arguments else "[...]"}"'
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def nearest(flag: str, flags: Sequence[str]) -> str:
    """What may have been meant by a flag that there is not: a hint, or nothing.

    Args:
        flag: as typed, with its dashes.
        flags: those that there are.
    """
    name = flag.removeprefix("--")
    ends = [known for known in flags if known.endswith(f".{name}")]  # its section was left out
    near = _joined(ends) if ends else near_name(flag, [known for known in flags if not known.endswith("+")])
    return f"; did you mean {near}?" if near else ""


def no_setting(key: str, known: Sequence[str]) -> str:
    """The error about a setting in a config file that there is not, with what may have been meant.

    Args:
        key: of the setting, with its section.
        known: keys that there are.
    """
    section = key.rpartition(".")[0]
    inside = [name for name in known if section and name.rpartition(".")[0] == section]
    ends = [name for name in known if name.endswith(f".{key}")]  # its section was left out
    if inside:  # by the last part, as the section alone makes all of it alike
        near = near_name(key.rpartition(".")[2], [name.rpartition(".")[2] for name in inside])
        near = near and f"{section}.{near}"
    else:
        near = _joined(ends) if ends else near_name(key, known)
    shown = [name for name in inside if not name.endswith(".help")]
    hint = f"; did you mean {near}?" if near else f"; there are {', '.join(shown)}" if shown else ""
    return f"the config file sets {key}, which is no setting{hint}"


def lacking(keys: Sequence[str], flags: Sequence[Action]) -> str:
    """The arguments that a command line lacks, named as they are typed, with the values allowed.

    Args:
        keys: of the arguments that are missing.
        flags: those of the command.
    """
    return ", ".join(_typed(flag) for flag in flags if flag.dest in keys)


def _typed(flag: Action) -> str:
    choices = _joined([str(choice) for choice in flag.choices]) if flag.choices else ""
    if not flag.option_strings:
        return f"{flag.dest} ({choices})" if choices else flag.dest
    return f"{flag.option_strings[0]} {f'({choices})' if choices else flag.metavar or flag.dest.upper()}"


def _joined(choices: list[str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last
