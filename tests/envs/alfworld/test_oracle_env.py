"""The oracle in the environment, and as an agent."""

import pickle
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded

from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks import get, make_plain_env, task_ids
from stepopsd_agent.tasks.agents import Agent, OracleAgent
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.game import TASK_TYPES
from stepopsd_envs.alfworld.oracle import UNWINNABLE
from stepopsd_envs.alfworld.pools import GeneratedPool
from tests.helpers.alfworld_games import CAN_CONTAIN, kitchen
from tests.helpers.alfworld_play import make
from tests.helpers.countdown import Countdown
from tests.helpers.runs import run_config


def told(env: AlfworldEnv, *commands: str) -> list[int]:
    """`optimal_distance` at reset and after each command."""
    infos = [env.reset(seed=0)[1], *(env.step(command)[4] for command in commands)]
    return [info["optimal_distance"] for info in infos]


def test_info_tells_the_distance_only_if_asked() -> None:
    """It falls to 0 along the plan; without ``oracle=True`` it stays -1, and nothing else in info differs."""
    env, silent = make(oracle=True), make()
    _, info = env.reset(seed=0)
    plan = env.oracle.plan()
    assert told(env, *plan) == list(range(len(plan), -1, -1))
    assert told(silent, *plan) == [-1] * (len(plan) + 1)
    assert type(info["optimal_distance"]) is int
    assert silent.reset(seed=0)[1] == {**info, "optimal_distance": -1}


def test_oracle_is_there_in_any_case() -> None:
    """With or without the argument; it needs a game, and says so."""
    env = make()
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.oracle.distance()
    env.reset(seed=0)
    assert env.oracle.distance() == len(env.oracle.plan()) > 0


def test_info_tells_what_cannot_be_won(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of its own, as -1 means that it was not computed."""
    game = kitchen(can_contain=frozenset(pair for pair in CAN_CONTAIN if pair[1] != "Knife"))
    monkeypatch.setattr(GeneratedPool, "game", lambda pool, name: game)
    env = make(oracle=True)
    stuck = told(env, "go to countertop 1", "take knife 1 from countertop 1", "look")
    assert stuck == [3, 2, UNWINNABLE, UNWINNABLE]


def test_distance_is_the_same_after_restoring_and_pickling() -> None:
    """The oracle speaks of the state, however the environment came to it."""
    env = make(oracle=True)
    _, info = env.reset(seed=3)
    env.step(env.oracle.plan()[0])
    snapshot, copied = env.snapshot(), pickle.loads(pickle.dumps(env))
    plan = env.oracle.plan()
    env.step(plan[0])
    restored = make(oracle=True)
    _, again = restored.reset(options={"snapshot": snapshot})
    assert again["optimal_distance"] == info["optimal_distance"] - 1 == len(plan)
    assert copied.oracle.plan() == restored.oracle.plan() == plan


def test_distance_does_not_depend_on_names() -> None:
    """Things numbered anew are the same things, and the plan uses their new names."""
    plain, shuffled = make(oracle=True), make(oracle=True, domain_randomization=True)
    for seed in range(8):
        _, info = plain.reset(seed=seed)
        _, other = shuffled.reset(seed=seed)
        assert other["optimal_distance"] == info["optimal_distance"]
        for command in shuffled.oracle.plan():
            assert command in other["admissible_commands"]
            _, _, _, _, other = shuffled.step(command)
        assert other["won"]


def test_vector_environments_tell_the_distance_of_each_game() -> None:
    """In process or not, and whatever another slot does."""
    for mode in (None, "sync"):
        envs = gym.make_vec("stepopsd/ALFWorld-v0", num_envs=3, vectorization_mode=mode, oracle=True)
        _, infos = envs.reset(seed=0)
        expected = [make(oracle=True).reset(seed=seed)[1]["optimal_distance"] for seed in range(3)]
        assert infos["optimal_distance"].tolist() == expected
        envs.close()


def played(agent: Any, number: int = 6, **settings: Any) -> list[Any]:
    """Episodes of the first games."""
    env = make_plain_env(run_config(env={"num_games": number, **settings}).env)
    return play_agent(agent(env), env, task_ids(env), 0)


def test_oracle_agent_wins_with_the_fewest_commands() -> None:
    """Every task type; the record says at each step how many are left."""
    episodes = played(OracleAgent, oracle=True, step_limit=40)
    assert {episode.task_type for episode in episodes} == set(TASK_TYPES)
    for episode in episodes:
        left = [step.info["optimal_distance"] for step in episode.steps]
        assert episode.success and left == list(range(episode.num_steps, -1, -1))


def test_oracle_agent_is_one_of_those_that_commands_know() -> None:
    """`stepopsd eval --agent oracle` plays with it."""
    env = make_plain_env(run_config().env)
    agent: Agent = get("stepopsd/ALFWorld-v0").agents["oracle"](env)
    assert isinstance(agent, OracleAgent)


def test_oracle_agent_goes_on_from_wherever_it_is() -> None:
    """Someone else may have played before; a game that is lost it looks at."""
    env = make()
    agent = OracleAgent(env)
    observation, info = env.reset(seed=0)
    agent.reset(0, observation, info)
    distance = env.oracle.distance()
    env.step(agent.act(observation, info))
    for command in ("look", "inventory"):
        env.step(command)
    assert env.oracle.distance() == distance - 1
    env.step(agent.act(observation, info))
    assert env.oracle.distance() == distance - 2


def test_oracle_agent_needs_a_household() -> None:
    """There is no optimal play to ask another environment for."""
    with pytest.raises(ValueError, match="needs an ALFWorld or a Search-QA environment"):
        OracleAgent(Countdown())
