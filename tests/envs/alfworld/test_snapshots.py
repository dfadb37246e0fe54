"""Snapshots and pickles under `gym.make`'s wrappers: what continues from them is the same episode."""

import json
import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded

from stepopsd_envs.alfworld.env import AlfworldEnv
from tests.helpers.alfworld_play import solve

COMMANDS = ("look", "inventory", "no such thing", "help", "look")

CONTINUE = """
import json, sys, gymnasium as gym, stepopsd_envs
settings, snapshot, commands = json.loads(sys.stdin.read())
env = gym.make("stepopsd/ALFWorld-v0", **settings)
calls = [env.reset(options={"snapshot": snapshot}), *(env.step(command) for command in commands)]
print(json.dumps([calls, env.unwrapped.transcript]))
"""


def wrapped(**settings: Any) -> gym.Env[str, str]:
    """The environment with all the wrappers that `gym.make` puts around it."""
    env: gym.Env[str, str] = gym.make("stepopsd/ALFWorld-v0", tier="tiny", **settings)
    assert env is not env.unwrapped
    return env


def base_of(env: gym.Env[str, str]) -> AlfworldEnv:
    """The environment itself."""
    base = env.unwrapped
    assert isinstance(base, AlfworldEnv)
    return base


def begun(env: gym.Env[str, str], steps: int, seed: int = 4) -> Any:
    """The last call after this many steps of an episode."""
    call: Any = env.reset(seed=seed)
    for number in range(steps):
        call = env.step(call[-1]["admissible_commands"][number])
    return call


def rest(env: gym.Env[str, str]) -> list[Any]:
    """The calls until the limit."""
    calls: list[Any] = []
    while not calls or not (calls[-1][2] or calls[-1][3]):
        calls.append(env.step(COMMANDS[len(calls) % len(COMMANDS)]))
    return calls


def test_snapshot_given_to_reset_continues_in_a_fresh_environment() -> None:
    """The same call again, then the same calls up to the same limit, whatever limit the new one has."""
    env = wrapped(step_limit=9)
    last = begun(env, 4)
    snapshot = base_of(env).snapshot()
    expected = rest(env)
    assert len(expected) == 5
    other = wrapped(step_limit=3)
    assert other.reset(options={"snapshot": snapshot}) == (last[0], last[-1])
    assert rest(other) == expected
    other.reset()
    assert len(rest(other)) == 3  # its own limit again


def test_restore_continues_an_environment_behind_its_wrappers() -> None:
    """Also after the end of an episode, and as often as wanted."""
    env = wrapped(step_limit=7)
    begun(env, 3)
    snapshot = base_of(env).snapshot()
    kept = deepcopy(snapshot)
    expected = rest(env)
    for _ in range(3):
        base_of(env).restore(snapshot)
        assert rest(env) == expected
        with pytest.raises(ResetNeeded):
            env.step("look")
    assert snapshot == kept


def test_snapshot_with_a_seed_reseeds_what_comes_after() -> None:
    """The episode keeps its own seed; the games drawn later are those of the seed given."""
    env, other = wrapped(), wrapped()
    begun(env, 2)
    snapshot = base_of(env).snapshot()
    env.reset(seed=8, options={"snapshot": snapshot})
    assert base_of(env).episode_seed == 4
    other.reset(seed=8, options={"snapshot": snapshot})
    assert [env.reset() for _ in range(3)] == [other.reset() for _ in range(3)]


def test_snapshot_of_a_finished_episode_stays_finished() -> None:
    """Won or at the limit, in another environment as well."""
    won, cut = wrapped(step_limit=99), wrapped(step_limit=2)
    solve(base_of(won), seed=1)
    begun(cut, 2)
    for env, message in ((won, "terminated"), (cut, "step limit")):
        other = wrapped()
        observation, info = other.reset(options={"snapshot": base_of(env).snapshot()})
        assert observation and info["step"]["index"] > 0
        with pytest.raises(ResetNeeded, match=message):
            other.step("look")


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_pickled_environment_continues_with_its_wrappers(steps: int) -> None:
    """Mid-episode: the same calls, and the same games drawn after it."""
    env = wrapped(step_limit=8)
    begun(env, steps)
    copies = [pickle.loads(pickle.dumps(env)), deepcopy(env)]
    expected = [*rest(env), env.reset(), env.step("look")]
    for copy in copies:
        assert [*rest(copy), copy.reset(), copy.step("look")] == expected
        assert base_of(copy).transcript == base_of(env).transcript


def test_pickled_environment_that_was_never_reset_asks_for_one() -> None:
    """Like the one it was made from."""
    copy = pickle.loads(pickle.dumps(wrapped()))
    with pytest.raises(ResetNeeded):
        copy.step("look")
    assert copy.reset(seed=3) == wrapped().reset(seed=3)


def test_branches_do_not_see_each_other() -> None:
    """Two environments and the one they came from, stepped in turns."""
    env = wrapped(step_limit=9)
    begun(env, 2)
    snapshot = base_of(env).snapshot()
    branches = [wrapped(), wrapped()]
    for branch in branches:
        branch.reset(options={"snapshot": snapshot})
    turns = [[player.step(command) for player in (*branches, env)] for command in COMMANDS]
    assert all(one == other == original for one, other, original in turns)
    branches[0].step("look")
    assert base_of(branches[1]).snapshot() == base_of(env).snapshot() != base_of(branches[0]).snapshot()


def test_restore_that_fails_changes_nothing() -> None:
    """A snapshot with a damaged state is refused and the episode goes on."""
    env = wrapped()
    begun(env, 2)
    before, broken = base_of(env).snapshot(), base_of(env).snapshot()
    broken["state"] = {**broken["state"], "engine": [99, *broken["state"]["engine"][1:]]}
    with pytest.raises(ValueError, match="does not fit"):
        env.reset(options={"snapshot": broken})
    assert base_of(env).snapshot() == before


def test_snapshot_continues_in_another_process_through_json() -> None:
    """Under another hash seed, by a program that only has the text of the snapshot."""
    env = wrapped(step_limit=9)
    last = begun(env, 4)
    snapshot = base_of(env).snapshot()
    expected = [(last[0], last[-1]), *(env.step(command) for command in COMMANDS)]
    run = subprocess.run(
        [sys.executable, "-c", CONTINUE],
        input=json.dumps([{"tier": "tiny", "step_limit": 9}, snapshot, COMMANDS]),
        env={"PYTHONHASHSEED": "5", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    calls, transcript = json.loads(run.stdout)
    assert calls == json.loads(json.dumps(expected))
    assert transcript == base_of(env).transcript


def test_snapshot_of_an_official_game_continues(official_games: Path) -> None:
    """By its path or its id, with the walkthrough played to the end on the branch."""
    folder = sorted((official_games / "valid_unseen").iterdir())[0]
    env: gym.Env[str, str] = gym.make("stepopsd/ALFWorld-v0", games=folder)
    env.reset(seed=0)
    engine = base_of(env)._playing()
    walkthrough = engine.game.walkthrough
    for command in walkthrough[:2]:
        env.step(command)
    snapshot = base_of(env).snapshot()
    expected = [env.step(command) for command in walkthrough[2:]]
    assert expected[-1][1:3] == (1.0, True)
    other: gym.Env[str, str] = gym.make("stepopsd/ALFWorld-v0", games=folder)
    other.reset(options={"snapshot": pickle.loads(pickle.dumps(snapshot))})
    assert [other.step(command) for command in walkthrough[2:]] == expected
