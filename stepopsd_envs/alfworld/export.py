"""Write games, mainly generated ones, as the files that ALFWorld plays: ``game.tw-pddl``.

Each file is read back before it gets its final name and must give the same game: the same household and task,
the same texts in the same order. Only places are renamed, to the names that a file gives them, unless a text
prints them.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.game import load_game
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.pddl_text import domain_text, grammar_text, problem_text
from stepopsd_envs.alfworld.wording import Wording
from stepopsd_envs.user_path import user_path

_PLACE = re.compile(r"\{\s*l(start|end)?\b")


def export_game(game: Game, path: str | Path) -> Path:
    """Write one game atomically and return the path.

    Raises:
        ValueError: the file format cannot express the game. An example is a renumbered game: in a file the
            numbers of things must fall in the order in which texts list them.
    """
    target = user_path(path)
    game = _with_places_of_files(game)
    contents = {
        "pddl_domain": domain_text(game.rules),
        "grammar": grammar_text(game),
        "pddl_problem": problem_text(game),
        "walkthrough": list(game.walkthrough),
        "solvable": True,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(contents, file)
        _check_same(game, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target


def export_games(games: Iterable[Game], folder: str | Path) -> Iterator[Path]:
    """Write games one by one in ALFWorld's layout of a split: ``<folder>/<task>/<trial>/game.tw-pddl``.

    Beside each game a ``traj_data.json`` holds the fields that ALFWorld's environment and expert read.
    ALFWorld skips games without this file.
    """
    for game in games:
        *source, number = game.task_id.split("/")
        target = game.win.receptacle_type or game.win.lamp_type
        task = f"{game.task_type}-{game.win.item_type}-None-{target}-{number}"
        trial = user_path(folder) / task / "_".join(["trial", *source, number])
        path = export_game(game, trial / "game.tw-pddl")
        (trial / "traj_data.json").write_text(json.dumps(_trajectory(game), indent=1), encoding="utf-8")
        yield path


def _with_places_of_files(game: Game) -> Game:
    """The game with the place names of a file, unless its texts print place names."""
    names = tuple(f"loc {number}" for number in range(len(game.location_names), 0, -1))
    return game if _prints_places(game.wording) else replace(game, location_names=names)


def _prints_places(wording: Wording) -> bool:
    texts = [text for _, *both in wording.actions for text in both]
    texts += [text for _, alternatives in wording.rules for _, text in alternatives]
    return any(_PLACE.search(text) for text in texts)


def _trajectory(game: Game) -> dict[str, Any]:
    parameters = {
        "object_target": game.win.item_type,
        "parent_target": game.win.receptacle_type,
        "toggle_target": game.win.lamp_type,
        "mrecep_target": "",
        "object_sliced": False,
    }
    return {"task_id": game.task_id, "task_type": game.task_type, "pddl_params": parameters}


def _check_same(game: Game, path: str) -> None:
    """Raise ValueError unless reading the file gives this game."""
    advice = "only games in the form of the official ones can be exported"
    try:
        written = load_game(path, game.task_id)
    except GameFileError as error:
        raise ValueError(
            f"game {game.task_id!r} cannot be written: {error.field} {error.problem}; {advice}"
        ) from error
    names = [field.name for field in fields(game)]
    changed = [name for name in names if getattr(written, name) != getattr(game, name)]
    if changed:
        raise ValueError(
            f"game {game.task_id!r} cannot be written: {', '.join(changed)} would not be read back the same; "
            f"{advice}"
        )
