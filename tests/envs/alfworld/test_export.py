"""Exported games: read back the same, refused when the format cannot say them, played by the original."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_envs.alfworld import Engine, load_game
from stepopsd_envs.alfworld.export import export_game, export_games
from stepopsd_envs.alfworld.game import Game, Goal, Rules
from stepopsd_envs.alfworld.generator import SPLITS, TIERS, generate_game
from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.renumbering import renamed
from stepopsd_envs.manifest import GamesNotFoundError
from tests.helpers.alfworld_games import COUNTER, ITEMS, RECEPTACLES, kitchen
from tests.helpers.alfworld_play import make


def written(game: Game, folder: Path) -> Game:
    """The game as its file says it."""
    return load_game(export_game(game, folder / "some" / "game.tw-pddl"), game.task_id)


def answers(game: Game, commands: tuple[str, ...]) -> list[Any]:
    """Everything an engine says in a play."""
    engine = Engine(game)
    said: list[Any] = [engine.reset()]
    for command in (*commands, "look", "inventory", "help"):
        said += [engine.admissible_commands(), engine.step(command), engine.won, engine.state_hash()]
    return said


@pytest.mark.parametrize("tier", TIERS)
def test_export_of_generated_games_reads_back_the_same(tmp_path: Path, tier: str) -> None:
    """Of every tier, split and task type: the same household, and a play with the same answers."""
    for number in range(6):
        for split in SPLITS:
            game = generate_game(tier, split, number)
            copy = written(game, tmp_path)
            assert replace(copy, location_names=game.location_names) == game
            assert answers(copy, copy.walkthrough) == answers(game, game.walkthrough)
            assert answers(copy, copy.walkthrough)[-2]  # won


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"win": Goal("Mug", "Cabinet", count=2)},
        {"win": Goal("Apple", "Shelf", states=("cool", "sliced"))},
        {"win": Goal("Apple", "Cabinet", states=("hot",), all_closed=True)},
        {"win": Goal("Bowl", lamp_type="DeskLamp")},
        {"rules": Rules(help=False, one_open=True, toggle_by_location=True)},
        {"rules": Rules(clean_in=frozenset({"SinkBasin"}), slice_with=frozenset({"Knife"}))},
        {"items": (*ITEMS[:-1], replace(ITEMS[-1], name="sink 1", type="Sink"))},  # a type that cleans
        {"goal": "put a clean mug in shelf, s'il vous pla\u00eet."},
        {"walkthrough": ("go to shelf 1", "look")},
    ],
)
def test_export_says_every_goal_and_rule(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whatever official releases ask for and allow."""
    game = kitchen(**changes)
    game = replace(game, task_type=type_of(game.win))
    assert written(game, tmp_path).content_hash == game.content_hash


def type_of(win: Goal) -> str:
    """The task type that goes with a goal of the test above."""
    if win.lamp_type:
        return "look_at_obj_in_light"
    if win.count == 2:
        return "pick_two_obj_and_place"
    verbs = [verb for state, verb in (("hot", "heat"), ("cool", "cool")) if state in win.states]
    return f"pick_{verbs[0]}_then_place_in_recep" if verbs else "pick_and_place_simple"


def test_export_of_official_games_reads_back_the_same(
    tmp_path: Path, official_games: Path, old_official_games: Path
) -> None:
    """Of the current release and of older ones, whose wordings and rules differ."""
    files = [*find_files(official_games)[::60], *find_files(old_official_games)]
    assert len(files) > 30
    for file in files:
        game = load_game(file.path, file.task_id)
        assert written(game, tmp_path) == game


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"receptacles": tuple(reversed(RECEPTACLES))}, "receptacles, items would not be read back"),
        ({"start_location": COUNTER}, "location_names would not"),  # a place where nothing is
        ({"goal": "put {o.name} in shelf."}, "expected a plain text"),
        ({"task_type": "pick_two_obj_and_place"}, "task_type would not be read back"),
        ({"win": Goal("Fridge", "Shelf")}, "Fridge: a type of both receptacles and items"),
        ({"win": Goal("Mug rack", "Shelf")}, "the type 'Mug rack' has no PDDL name"),
        (
            {"receptacles": (replace(RECEPTACLES[0], name="(cabinet)"),)},
            "the name '.cabinet.' has no PDDL id",
        ),
    ],
)
def test_export_refuses_what_the_format_cannot_say(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """With the reason, and without touching a file that was there."""
    old = tmp_path / "game.tw-pddl"
    old.write_text("old")
    with pytest.raises(ValueError, match=message):
        export_game(kitchen(**changes), old)
    assert [path.name for path in tmp_path.iterdir()] == ["game.tw-pddl"]
    assert old.read_text() == "old"


def test_export_refuses_renumbered_games(tmp_path: Path) -> None:
    """In a file the numbers fall."""
    game = renamed(kitchen(), {"mug 1": "mug 2", "mug 2": "mug 1"})
    with pytest.raises(ValueError, match="items would not be read back the same"):
        export_game(game, tmp_path / "game.tw-pddl")


def test_export_games_makes_a_split(tmp_path: Path) -> None:
    """A folder that the environment plays, and what ALFWorld wants to find beside each game."""
    games = [generate_game("tiny", "train", number) for number in range(6)]
    paths = list(export_games(games, tmp_path / "split"))
    assert paths[0].relative_to(tmp_path).parts[0] == "split"
    assert paths[0].parent.name == "trial_generated_tiny_train_0"
    env = make(games=tmp_path / "split")
    assert len(env.task_ids) == 6
    for game, path in zip(games, paths, strict=True):
        opening, info = env.reset(options={"game": path})
        assert opening == Engine(game).reset()
        assert (info["task_type"], info["goal"]) == (game.task_type, game.goal)
        told = json.loads(path.with_name("traj_data.json").read_text())
        assert told["task_type"] == game.task_type
        assert told["pddl_params"]["object_target"] == game.win.item_type


def test_another_game_under_the_id_of_one_is_refused(tmp_path: Path) -> None:
    """Its record would name a task that a replay plays differently; a copy of the same game is that game."""
    game, other = (generate_game("tiny", "train", number) for number in (0, 1))
    export_game(game, tmp_path / "games" / "train" / "a" / "t" / "game.tw-pddl")
    copied = export_game(game, tmp_path / "copy" / "train" / "a" / "t" / "game.tw-pddl")
    wrong = export_game(other, tmp_path / "other" / "train" / "a" / "t" / "game.tw-pddl")
    env = gym.make("stepopsd/ALFWorld-v0", games=str(tmp_path / "games"))
    assert env.reset(options={"game": str(copied)})[1]["goal"] == game.goal
    with pytest.raises(GamesNotFoundError, match="task 'train/a/t' is another game in this environment"):
        env.reset(options={"game": str(wrong)})
