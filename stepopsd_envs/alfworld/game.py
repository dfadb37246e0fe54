"""Read games from official files (`game.tw-pddl`); their data types are in model.py."""

import json
from pathlib import Path
from typing import Any

from stepopsd_envs.alfworld.domain import read_domain
from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.grammar import read_grammar
from stepopsd_envs.alfworld.household import build_household
from stepopsd_envs.alfworld.model import TASK_TYPES, Game, Item, Receptacle
from stepopsd_envs.alfworld.pddl import PddlError, parse_problem
from stepopsd_envs.alfworld.rules import STATES, Goal, Rules
from stepopsd_envs.alfworld.templates import ACTION_VARIABLES, compile_wording
from stepopsd_envs.alfworld.wording import DEFAULT_WORDING, Wording, WordingError
from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.user_path import user_path

__all__ = [
    "DEFAULT_WORDING",
    "STATES",
    "TASK_TYPES",
    "Game",
    "GameFileError",
    "Goal",
    "Item",
    "Receptacle",
    "Rules",
    "Wording",
    "load_game",
]

_AGAIN = "the file seems to be damaged: download or unpack the games again"
_OTHER = (
    "if the file is damaged, download the games again; else leave it out: games of this kind cannot be played"
)


def load_game(path: str | Path, task_id: str | None = None) -> Game:
    """Read a game file.

    Args:
        path: the file, `.../<split>/<task>/<trial>/game.tw-pddl`.
        task_id: id of the game; None: `<split>/<task>/<trial>` from the path.

    Raises:
        GameFileError: the file is missing, damaged, or of a kind that cannot be played.
    """
    file = user_path(path)
    data = _read_json(file)
    texts = {key: _string(file, data, key) for key in ("pddl_domain", "grammar", "pddl_problem")}
    walkthrough = data.get("walkthrough", [])
    if not isinstance(walkthrough, list) or not all(isinstance(command, str) for command in walkthrough):
        raise GameFileError(str(file), "walkthrough", "expected a list of strings", _AGAIN)
    field = "pddl_domain"
    try:
        rules = read_domain(texts[field])
        field = "grammar"
        wording, instruction = read_grammar(texts[field])
        _check_wording(wording, rules)
        field = "pddl_problem"
        household = build_household(parse_problem(texts[field]), rules)
    except (PddlError, WordingError) as error:
        where = f"{field}: {error.where}" if error.where else field
        raise GameFileError(str(file), where, error.problem, _OTHER) from error
    task_id = "/".join(file.parts[-4:-1]) if task_id is None else task_id
    task_type = _task_type(household["win"])
    return Game(task_id, task_type, instruction, **household, wording=wording, walkthrough=tuple(walkthrough))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(plain_file(file).read_bytes())
    except OSError as error:
        raise GameFileError(
            str(file), "", f"cannot be read ({error.strerror})", "check the path of the games"
        ) from error
    except (ValueError, RecursionError) as error:
        raise GameFileError(str(file), "", f"is not JSON ({error})", _AGAIN) from error
    if not isinstance(data, dict):
        raise GameFileError(str(file), "", f"expected a JSON object, got {type(data).__name__}", _AGAIN)
    return data


def _string(file: Path, data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        problem = f"expected a string, got {type(value).__name__}" if key in data else "missing"
        raise GameFileError(str(file), key, problem, _AGAIN)
    return value


def _check_wording(wording: Wording, rules: Rules) -> None:
    """Compile all texts, so that errors in them are raised before play."""
    texts = compile_wording(wording)
    missing = sorted(set(ACTION_VARIABLES) - set(texts.commands) - ({"help"} if not rules.help else set()))
    if missing:
        raise WordingError(f"action {missing[0]}", f"missing; texts are needed for {', '.join(missing)}")


def _task_type(win: Goal) -> str:
    if win.lamp_type:
        return "look_at_obj_in_light"
    if win.count > 1:
        return "pick_two_obj_and_place"
    for state, verb in (("clean", "clean"), ("hot", "heat"), ("cool", "cool")):
        if state in win.states:
            return f"pick_{verb}_then_place_in_recep"
    return "pick_and_place_simple"
