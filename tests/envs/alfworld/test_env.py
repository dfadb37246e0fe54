"""The ALFWorld environment on generated games."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.game import TASK_TYPES
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.manifest import GamesNotFoundError
from tests.helpers.alfworld_play import make, solve

INFO_TYPES = {
    "step": dict,
    "won": bool,
    "admissible_commands": list,
    "task_type": str,
    "task_id": str,
    "goal": str,
    "optimal_distance": int,
}
NOTHING = "Nothing happens."


def test_info_has_the_same_keys_and_types_at_reset_and_step() -> None:
    """Those of the contract, no more; a bad command changes nothing about that."""
    env = make()
    infos = [env.reset(seed=0)[1], env.step("look")[4], env.step("no such thing")[4]]
    for info in infos:
        assert {key: type(value) for key, value in info.items()} == INFO_TYPES
        assert all(type(command) is str for command in info["admissible_commands"])
        assert info["admissible_commands"] == sorted(info["admissible_commands"])
        assert info["optimal_distance"] == -1


def test_info_tells_the_task() -> None:
    """The goal is the instruction in the opening text, the id that of the canonical list."""
    env = make(split="test")
    observation, info = env.reset(seed=0)
    assert observation.startswith("-= Welcome to TextWorld, ALFRED! =-")
    assert observation.endswith(f"Your task is to: {info['goal']}")
    assert info["task_type"] in TASK_TYPES
    assert info["task_id"] in env.task_ids
    assert info["task_id"].startswith("generated/small/test/")


def test_valid_is_to_stand_in_the_previous_admissible_list() -> None:
    """Outer blanks do not matter; case and inner blanks do."""
    env = make()
    env.reset(seed=0)
    expected = {
        "look": True,
        "  look\n": True,
        "Look": False,
        "": False,
        "look  around": False,
        "inventory": True,
    }
    for command, valid in expected.items():
        observation, _, _, _, info = env.step(command)
        assert (info["step"]["valid"], info["step"]["kind"]) == (valid, "act" if valid else "invalid")
        assert info["step"]["action"] == command
        assert valid or observation == NOTHING


def test_every_admissible_command_is_valid_and_other_places_are_not() -> None:
    """Tried from one state, by snapshot."""
    env = make()
    _, info = env.reset(seed=0)
    start = env.snapshot()
    for command in info["admissible_commands"]:
        env.restore(start)
        assert env.step(command)[4]["step"]["valid"]
    env.restore(start)
    assert env.step("go to cabinet 99")[0] == NOTHING


@pytest.mark.parametrize("action", [None, 3, b"look", ["look"], np.zeros(3)], ids=repr)
def test_step_answers_what_is_no_string_with_nothing_happens(action: Any) -> None:
    """It counts as an invalid step."""
    env = make()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(action)
    assert (observation, reward, terminated, truncated) == (NOTHING, 0.0, False, False)
    assert (info["step"]["kind"], info["step"]["action"], info["step"]["index"]) == ("invalid", "", 1)


def test_admissible_false_hides_the_commands_and_nothing_else() -> None:
    """The same episode, with the list empty."""
    shown, hidden = make(), make(admissible=False)
    for one, other in zip(solve(shown, seed=2), solve(hidden, seed=2), strict=True):
        assert other[-1] == {**one[-1], "admissible_commands": []}
        assert other[:-1] == one[:-1]


def test_winning_gives_reward_and_terminates() -> None:
    """Of every task type; stepping on then asks for a reset."""
    for task_type in TASK_TYPES:
        env = make(task_types=[task_type], step_limit=200)
        calls = solve(env, seed=1)
        assert calls[-1][1:4] == (1.0, True, False)
        assert calls[-1][4]["won"] and calls[-1][4]["step"]["terminal"]
        assert [call[1] for call in calls[1:-1]] == [0.0] * (len(calls) - 2)
        assert {call[-1]["task_type"] for call in calls} == {task_type}
        with pytest.raises(ResetNeeded, match="terminated"):
            env.step("look")


def test_winning_with_the_last_step_is_not_truncated() -> None:
    """And one step less does not win."""
    calls = solve(make(step_limit=200), seed=1)
    needed = len(calls) - 1
    assert solve(make(step_limit=needed), seed=1)[-1][2:4] == (True, False)
    assert solve(make(step_limit=needed - 1), seed=1)[-1][2:4] == (False, True)


def test_state_is_of_the_world_only() -> None:
    """Looking changes nothing, going somewhere does, and the same place is the same state again."""
    env = make()
    _, info = env.reset(seed=0)
    places = [command for command in info["admissible_commands"] if command.startswith("go to ")]
    commands = ["look", "no such thing", places[0], places[1], places[0]]
    states = [info["step"]["state"], *(env.step(command)[4]["step"]["state"] for command in commands)]
    assert states[0] == states[1] == states[2]
    assert states[3] == states[5]
    assert len({states[0], states[3], states[4]}) == 3


def test_reset_plays_the_game_that_is_asked_for() -> None:
    """By id, also one of another split; the opening text is that game's."""
    env = make(num_games=3)
    for task_id in (*env.task_ids, "generated/small/test/5"):
        observation, info = env.reset(options={"game": task_id})
        assert info["task_id"] == task_id
        assert info["goal"] == generate_game("small", task_id.split("/")[2], int(task_id.split("/")[3])).goal
        assert info["goal"] in observation


@pytest.mark.parametrize(
    "game", ["generated/huge/train/1", "generated/small/train/01", "valid_seen/x/y", "7"]
)
def test_reset_refuses_a_game_that_does_not_exist(game: str) -> None:
    """The message says how ids look; the running episode is not touched."""
    env = make()
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(GamesNotFoundError, match="generated/<tier>/<split>/<number>"):
        env.reset(options={"game": game})
    assert env.snapshot() == before


def test_reset_draws_from_the_first_num_games() -> None:
    """All of them sooner or later, no other."""
    env = make(num_games=4)
    assert env.task_ids == tuple(f"generated/small/train/{n}" for n in range(4))
    drawn = {env.reset(seed=0)[1]["task_id"], *(env.reset()[1]["task_id"] for _ in range(60))}
    assert drawn == set(env.task_ids)


def test_task_types_filter_before_num_games_counts() -> None:
    """The first so many games of these types."""
    types = ["look_at_obj_in_light", "pick_two_obj_and_place"]
    env = make(task_types=types, num_games=5)
    assert len(env.task_ids) == 5
    found = {env.reset(options={"game": task_id})[1]["task_type"] for task_id in env.task_ids}
    assert found <= set(types)
    numbers = [int(task_id.rpartition("/")[2]) for task_id in env.task_ids]
    skipped = set(range(numbers[-1])) - set(numbers)
    assert skipped and not {generate_game("small", "train", n).task_type for n in skipped} & set(types)


def test_task_types_takes_one_name() -> None:
    """A string means the type of that name."""
    name = TASK_TYPES[0]
    assert make(task_types=name, num_games=2).task_ids == make(task_types=[name], num_games=2).task_ids


def test_fingerprint_tells_sets_of_games_apart() -> None:
    """Whatever changes the games changes it; whatever does not, does not."""
    settings: list[dict[str, Any]] = [
        {},
        {"split": "test"},
        {"tier": "tiny"},
        {"num_games": 9},
        {"task_types": TASK_TYPES[:1]},
        {"task_types": TASK_TYPES[:2]},
    ]
    prints = [make(**setting).fingerprint for setting in settings]
    assert len(set(prints)) == len(settings)
    same: list[dict[str, Any]] = [
        {},
        {"step_limit": 9, "admissible": False, "render_mode": "ansi"},
        {"num_games": 10_000, "task_types": TASK_TYPES[::-1]},
    ]
    assert {make(**setting).fingerprint for setting in same} == {prints[0]}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"engine": "jericho"}, "engine='jericho': give one of 'native', 'textworld'"),
        ({"tier": "huge"}, "tier='huge': give one of .*'small'"),
        ({"split": "valid"}, "split='valid': give one of 'train', 'test'"),
        ({"task_types": ["look", TASK_TYPES[0]]}, "task_types has 'look': .*pick_and_place_simple"),
        ({"task_types": []}, "task_types has an empty list"),
        ({"num_games": 0}, "num_games=0: give None or a positive"),
        ({"num_games": 2.5}, "num_games=2.5: give None or a positive"),
        ({"games": "no/such/folder"}, "'no/such/folder' not found"),
        ({"games": ""}, "games='': the path is empty; give one, or . for the present folder"),
        ({"games": [".", ""]}, "games='': the path is empty"),
        ({"games": "~nobody-here/games"}, "there is no user 'nobody-here'"),
        ({"games": "train", "data_root": ""}, "data_root='': the path is empty"),
        ({"games": 5}, "games=5: give 'generated', a file, a folder, one of train, .*or a list"),
        ({"games": None}, "games=None: give"),
        ({"games": [5]}, "games=5: give"),
        ({"games": b"x"}, "games=b'x': give"),
        ({"data_root": 5}, "data_root=5: give None or a folder"),
        ({"task_types": 5}, r"task_types=5: give None, a text or a list of texts, such as \['pick_and"),
        ({"task_types": [5, "a"]}, r"task_types=\[5, 'a'\]: give None, a text"),
        ({"task_types": [["a"]]}, r"task_types=\[\['a'\]\]: give None, a text"),
        ({"oracle": "False"}, "oracle='False': give True or False"),
        ({"admissible": 0}, "admissible=0: give True or False"),
        ({"domain_randomization": None}, "domain_randomization=None: give True or False"),
    ],
    ids=str,
)
def test_constructor_refuses_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    """Each error names the argument and what is allowed."""
    with pytest.raises(ValueError, match=message):
        AlfworldEnv(**kwargs)


@pytest.mark.parametrize("name", ["oracles", "tiers"])
def test_constructor_ignores_no_argument(name: str) -> None:
    """What the environment cannot do is not accepted."""
    unknown: dict[str, Any] = {name: True}
    with pytest.raises(TypeError, match=name):
        AlfworldEnv(**unknown)


def test_snapshot_is_small_and_plain() -> None:
    """A few kilobytes beside the transcript; equal snapshots mean equal episodes."""
    env = make()
    solve(env, seed=0)
    snapshot = env.snapshot()
    assert len(pickle.dumps(snapshot)) < len(env.transcript) + 4096
    other = make()
    other.reset(options={"snapshot": pickle.loads(pickle.dumps(snapshot))})
    assert other.snapshot() == snapshot


def test_snapshot_branches_an_episode() -> None:
    """Two continuations from one point do not see each other."""
    env = make()
    calls = solve(env, seed=1)
    env.reset(seed=1)
    for call in calls[1:3]:
        env.step(call[4]["step"]["action"])
    point = env.snapshot()
    for _ in range(2):
        env.step("no such thing")
        env.restore(point)
        again = [env.step(call[4]["step"]["action"]) for call in calls[3:]]
        assert again == calls[3:]
        env.restore(point)


def test_restore_refuses_a_snapshot_of_another_version_of_the_game() -> None:
    """Else it would continue in a state that means something else."""
    env = make()
    env.reset(seed=0)
    snapshot = env.snapshot()
    snapshot["state"] = {**snapshot["state"], "content": "0" * 32}
    with pytest.raises(ValueError, match="another version"):
        env.restore(snapshot)


def test_snapshot_survives_json() -> None:
    """Lists for tuples make no difference when it is restored."""
    env = make()
    env.reset(seed=0)
    env.step("\ud800 look")
    snapshot = json.loads(json.dumps(env.snapshot()))
    expected = [env.step(command) for command in ("look", "inventory")]
    env.restore(snapshot)
    assert [env.step(command) for command in ("look", "inventory")] == expected
