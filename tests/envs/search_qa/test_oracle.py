"""The oracle of Search-QA, its agent, and what each search added."""

from pathlib import Path

import gymnasium as gym
import pytest

from stepopsd_agent.tasks.agents import OracleAgent
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.oracle import SearchOracle
from stepopsd_envs.search_qa.questions import Hop, Question
from tests.helpers.search_qa import library_env, search

HOPS = (Hop("Old Mill builder", "mill"), Hop("Ada Brenk origin", "ada"))
QUESTION = Question("q", "Where from?", ("Port Lorn", "Lorn"), ("mill", "ada"), "2-hop", (), HOPS)
ANSWER = "<answer>Port Lorn</answer>"


def test_plan_searches_for_each_missing_hop_then_answers() -> None:
    """In order; what was seen is not searched for, nor what was searched for in vain."""
    first, second = ("<search>Old Mill builder</search>", "<search>Ada Brenk origin</search>")
    assert SearchOracle(QUESTION, (), (), 4).plan() == [first, second, ANSWER]
    assert SearchOracle(QUESTION, ("mill", "x"), (), 4).plan() == [second, ANSWER]
    assert SearchOracle(QUESTION, (), ("Old Mill builder",), 4).plan() == [second, ANSWER]
    assert SearchOracle(QUESTION, ("ada", "mill"), (), 4).plan() == [ANSWER]
    assert SearchOracle(QUESTION, (), (), 1).plan() == [first, ANSWER]
    assert SearchOracle(QUESTION, (), (), 0).plan() == [ANSWER]
    assert SearchOracle(QUESTION, (), (), 4).distance() == 3


def test_plan_without_hops_searches_for_the_question() -> None:
    """Once, and not when the gold passages have been seen."""
    bare = Question("q", "Where from?", ("Port Lorn",), ("mill",))
    once = ["<search>Where from?</search>", ANSWER]
    untidy = Question("q", " Where\nfrom?", ("Port Lorn",))
    assert SearchOracle(untidy, (), (), 4).plan() == once
    assert SearchOracle(untidy, (), ("Where from?",), 4).plan() == [ANSWER]
    assert SearchOracle(bare, (), (), 4).plan() == once
    assert SearchOracle(bare, (), ("Where from?",), 4).plan() == [ANSWER]
    assert SearchOracle(bare, ("mill",), (), 4).plan() == [ANSWER]
    assert SearchOracle(Question("q", "Where from?", ("Port Lorn",)), (), (), 4).plan() == once


def test_oracle_follows_the_episode(tmp_path: Path) -> None:
    """From the closing turn it answers at once."""
    env = library_env(tmp_path, max_turns=2)
    env.reset(seed=0, options={"question": "q2"})
    assert env.oracle.distance() == 2
    env.step("hm")
    env.step(search("Port"))
    assert env.oracle.plan() == [ANSWER]


@pytest.mark.parametrize("split", ["train", "test"])
def test_oracle_agent_is_always_right_on_the_synthetic_world(split: str) -> None:
    """Each search finds its passage, and every search it makes adds gold."""
    env = gym.make("stepopsd/SearchQA-v0", tier="tiny", split=split)
    base = env.unwrapped
    assert isinstance(base, SearchQAEnv)
    agent, types = OracleAgent(env), set()
    for task_id in base.task_ids:
        observation, info = env.reset(seed=0, options={"question": task_id})
        agent.reset(0, observation, info)
        types.add(info["task_type"])
        steps, over = base.oracle.distance(), False
        while not over:
            gold, kept = info["gold_seen"], info["new_gold"]
            observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
            over = terminated or truncated
            assert (info["gold_seen"] > gold) == bool(info["new_gold"]) == (not over), (task_id, kept)
        assert info["won"] and info["gold_seen"] == 1.0 and info["step"]["index"] <= steps
    assert types == {"1-hop", "2-hop", "3-hop", "4-hop", "comparison", "yes-no"}


def test_given_passages_count_as_seen() -> None:
    """Some questions carry what is needed: the oracle answers them at once."""
    env = SearchQAEnv(tier="tiny")
    questions = [env._find(name) for name in env.task_ids]
    given = [question for question in questions if question.given]
    assert given
    distances = []
    for question in given:
        observation, info = env.reset(seed=0, options={"question": question.id})
        assert info["retrieved"] == list(question.given) and observation.count("Doc ") == len(question.given)
        assert info["new_gold"] == [name for name in question.given if name in question.supporting]
        distances.append(env.oracle.distance())
    assert 1 in distances


def test_oracle_agent_needs_an_environment_it_knows() -> None:
    """Others are refused with what it plays."""
    with pytest.raises(ValueError, match=r"ALFWorld or a Search-QA"):
        OracleAgent(gym.make("CartPole-v1"))
