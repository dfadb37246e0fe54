"""Read the grammar of an official game file: the wording and the instruction."""

import json
import re
from functools import lru_cache
from typing import Any

from stepopsd_envs.alfworld.templates import ACTION_VARIABLES, literal_text, symbols_in
from stepopsd_envs.alfworld.wording import Wording, WordingError

Rules = dict[str, tuple[tuple[str, str], ...]]

TASK_PREFIX = "Your task is to: "

_TASK = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("(?:[^"\\]|\\.)*")(?=\s*\}\s*\])')
_GAP = re.compile(r"(?:\s+|#[^\n]*)*")
_ACTION = re.compile(r"action\b")
_NAME = re.compile(r"[\w/-]+")
_FIELD = re.compile(r'(template|feedback|pddl|grammar)\s*::\s*("""[\s\S]*?"""|"[^"]*")\s*;')


def read_grammar(text: str) -> tuple[Wording, str]:
    """Read the wording and the instruction.

    Games of one release differ only in the instruction. So it is cut out first, and the rest is read once per
    release.

    Raises:
        WordingError: the grammar cannot be read.
    """
    tasks = _TASK.findall(text)
    if len(tasks) != 1:
        raise WordingError(
            "rule 'task'", f"expected once, with one text and no condition, got {len(tasks)} of them"
        )
    return _read_wording(_TASK.sub(r'\1""', text)), _instruction(tasks[0][1])


def _instruction(quoted: str) -> str:
    text = literal_text(_load_json(quoted, "rule 'task'"))
    if text is None or not text.startswith(TASK_PREFIX):
        raise WordingError(
            "rule 'task'", f"expected a plain text that begins with {TASK_PREFIX!r}, got {quoted[:80]}"
        )
    return text.removeprefix(TASK_PREFIX)


@lru_cache(maxsize=16)
def _read_wording(text: str) -> Wording:
    actions, rules = _read_document(text)
    names = {name.lower(): name for name in ACTION_VARIABLES}
    known = tuple(
        sorted((names[name.lower()], *texts) for name, texts in actions.items() if name.lower() in names)
    )
    reached: dict[str, tuple[tuple[str, str], ...]] = {}
    waiting = symbols_in("#intro#").union(*(symbols_in(text) for action in known for text in action[1:]))
    while waiting:
        symbol = waiting.pop()
        if symbol in rules and symbol not in reached and symbol != "task":
            reached[symbol] = rules[symbol]
            waiting |= set().union(*(symbols_in(text) for _, text in rules[symbol]))
    return Wording(known, tuple(sorted(reached.items())))


def _read_document(text: str) -> tuple[dict[str, tuple[str, str]], Rules]:
    """The templates of the actions, and all rules; of several rules with the same name the last counts."""
    actions: dict[str, tuple[str, str]] = {}
    rules: Rules = {}
    position = _skip(text, 0)
    while position < len(text):
        if _ACTION.match(text, position):
            name, fields, position = _read_action(text, position)
            actions[name] = (_unquoted(fields, "template", name), _unquoted(fields, "feedback", name))
        else:
            match = _FIELD.match(text, position)
            if not match or match[1] != "grammar":
                raise WordingError(
                    f"character {position}",
                    f"expected 'action' or 'grammar ::', got {text[position:][:40]!r}",
                )
            fields, position = {"grammar": match[2]}, _skip(text, match.end())
        rules.update(_read_rules(fields["grammar"][3:-3]) if "grammar" in fields else {})
    return actions, rules


def _skip(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position


def _read_action(text: str, position: int) -> tuple[str, dict[str, str], int]:
    """Name of an action, its fields as written, and the position after it."""
    name = _NAME.match(text, _skip(text, position + len("action")))
    where = f"action {name[0]}" if name else f"character {position}"
    start = _skip(text, name.end()) if name else position
    if not name or not text.startswith("{", start):
        raise WordingError(where, "expected 'action NAME {'")
    position = _skip(text, start + 1)
    fields: dict[str, str] = {}
    while match := _FIELD.match(text, position):
        fields[match[1]] = match[2]
        position = _skip(text, match.end())
    if not text.startswith("}", position):
        raise WordingError(where, f"expected a field or a closing brace, got {text[position:][:40]!r}")
    return name[0], fields, _skip(text, position + 1)


def _unquoted(fields: dict[str, str], field: str, action: str) -> str:
    quoted = fields.get(field, "")
    if not quoted or quoted.startswith('"""'):
        raise WordingError(f"action {action}", f'expected {field} :: "..."; with one pair of quotation marks')
    return quoted[1:-1]


def _load_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WordingError(where, f"its JSON cannot be read ({error})") from error


def _read_rules(block: str) -> Rules:
    block = "\n".join(line for line in block.split("\n") if not line.lstrip().startswith("#"))
    data = _load_json(block, "rules")
    if not isinstance(data, dict):
        raise WordingError("rules", f"expected a JSON object, got {type(data).__name__}")
    return {name: _alternatives(name, value) for name, value in data.items()}


def _alternatives(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    is_list = isinstance(value, list) and all(isinstance(choice, dict) for choice in value)
    pairs = [(choice.get("condition", ""), choice.get("rhs")) for choice in value] if is_list else []
    if not pairs or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise WordingError(f"rule {name!r}", 'expected a list of {"rhs": text, "condition": text}')
    return tuple(pairs)
