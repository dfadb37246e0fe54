"""What the learner is told about each environment, and what the settings of one mean to it."""

import inspect
from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.config.run import RunConfig, config_from_dict
from stepopsd_agent.tasks.alfworld import ALFWORLD
from stepopsd_agent.tasks.base import Environment
from stepopsd_agent.tasks.make import env_arguments, make_plain_env, make_stack
from stepopsd_agent.tasks.registry import (
    environment,
    environment_of,
    evaluation_sets,
    evaluation_total,
    foreign_setting,
    response_format,
)
from stepopsd_agent.tasks.search_qa import SEARCH_QA
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.search_qa.env import SearchQAEnv
from tests.helpers.command_line import refusal

SEARCH = "stepopsd/SearchQA-v0"


def search_config(**sections: Any) -> RunConfig:
    """Settings of a run on Search-QA."""
    return config_from_dict({**sections, "env": {"id": SEARCH, "tier": "tiny", **sections.get("env", {})}})


@pytest.mark.parametrize(
    ("own", "made", "elsewhere"),
    [(ALFWORLD, AlfworldEnv, {"admissible"}), (SEARCH_QA, SearchQAEnv, set())],
    ids=lambda value: getattr(value, "name", ""),
)
def test_environments_have_a_setting_for_every_argument(
    own: Environment, made: type[gym.Env[str, str]], elsewhere: set[str]
) -> None:
    """By the argument's name; how it is rendered, and what the prompt's layout decides, are no settings."""
    arguments = set(inspect.signature(made).parameters)
    assert own.settings == arguments - elsewhere - {"render_mode"}


@pytest.mark.parametrize("env_id", ["stepopsd/SearchQA-v0", "stepopsd/SearchQA"])
def test_environment_is_found_by_its_id(env_id: str) -> None:
    """With the version or without; an unknown one is set up as ALFWorld is."""
    assert environment(env_id) is SEARCH_QA
    assert environment("stepopsd/ALFWorld-v0") is environment("somebody/Variant-v3") is ALFWORLD


def test_environment_of_a_stack_is_the_innermost_one_s() -> None:
    """Whatever is around it."""
    assert environment_of(make_stack(search_config().env)) is SEARCH_QA
    assert environment_of(make_plain_env(RunConfig().env)) is ALFWORLD


def test_settings_make_the_environment_they_say() -> None:
    """Success is the exact match; an absent limit is the environment's own."""
    config = search_config(env={"topk": 2, "max_turns": 1, "task_types": ["1-hop"], "num_questions": 5}).env
    arguments = env_arguments(config)
    assert arguments["reward"] == "em" and "max_information" not in arguments
    assert env_arguments(replace(config, max_information=900))["max_information"] == 900
    env = make_stack(config)
    _, info = env.reset(seed=0)
    assert info["task_type"] == "1-hop" and len(env.get_wrapper_attr("task_ids")) == 5


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"env": {"games": "train"}}, "env.games is 'train', a setting that stepopsd/SearchQA-v0 lacks"),
        ({"env": {"step_limit": 9}}, "env.step_limit is 9"),
        ({"eval": {"num_games": 9}}, "eval.num_games is 9"),
        ({"env": {"topk": 5}, "eval": {"questions": ["a.jsonl"]}}, None),
    ],
)
def test_settings_of_another_environment_are_refused(sections: dict[str, Any], named: str | None) -> None:
    """By name, with those that there are."""
    said = foreign_setting(search_config(**sections))
    assert said is None if named is None else said is not None and said.startswith(named)
    if said is not None:
        assert "env.retriever" in said or "eval.questions" in said


def test_settings_of_search_qa_are_refused_in_alfworld(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says it in one line."""
    line = refusal(capsys, "eval", "--agent=random", "--env.topk=2")
    assert "env.topk is 2, a setting that stepopsd/ALFWorld-v0 lacks; it has env.data_root" in line


@pytest.mark.parametrize("questions", [[], ["a/nq.jsonl", "b/nq.jsonl"]])
def test_settings_name_sets_that_can_be_told_apart(
    questions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A table has a row for each."""
    line = refusal(capsys, "eval", "--agent=random", f"--env.id={SEARCH}", f"--eval.questions={questions}")
    assert "eval.questions is [" in line and "different names" in line


def test_evaluation_of_search_qa_has_a_set_for_every_file() -> None:
    """Named after it, each played once however few its questions are; else the test encyclopedia."""
    config = search_config(eval={"questions": ["data/nq.jsonl", "popqa"], "num_questions": 40})
    one, other = evaluation_sets(config)
    assert (one.name, one.env.questions, other.name) == ("nq", "data/nq.jsonl", "popqa")
    assert one.count == 40 and not one.again and evaluation_total(config) == 80
    (synthetic,) = evaluation_sets(search_config())
    assert (synthetic.env.questions, synthetic.env.split) == ("synthetic", "test")
    assert evaluation_total(search_config(eval={"num_questions": None})) is None


@pytest.mark.parametrize("env_id", ["stepopsd/ALFWorld-v0", SEARCH])
def test_evaluation_can_play_other_task_types(env_id: str) -> None:
    """Those of training, unless it has its own."""
    config = config_from_dict({"env": {"id": env_id, "task_types": ["a"]}})
    assert evaluation_sets(config)[0].env.task_types == ["a"]
    config.eval.task_types = ["b"]
    assert evaluation_sets(config)[0].env.task_types == ["b"]


@pytest.mark.parametrize(
    ("env_id", "asked", "meant"),
    [
        ("stepopsd/ALFWorld-v0", "plain", "plain"),
        ("stepopsd/ALFWorld-v0", "tags", "tags"),
        (SEARCH, "plain", "search"),
        (SEARCH, "search", "search"),
        (SEARCH, "tags", "tags"),
    ],
)
def test_response_format_of_plain_is_the_environment_s_own(env_id: str, asked: str, meant: str) -> None:
    """Search-QA's actions stand in tags of their own."""
    assert response_format(config_from_dict({"env": {"id": env_id, "response": asked}}).env) == meant
