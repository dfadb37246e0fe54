"""Environments by their ids, what the settings of one mean to it, and what evaluation plays."""

import inspect
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.cli.checks import UsageError, check_environment
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks import (
    HeldOut,
    TaskSpec,
    constructor_settings,
    env_arguments,
    evaluation_sets,
    evaluation_total,
    get,
    make_plain_env,
    make_stack,
    names,
    register,
    response_format,
    spec_of,
    task_ids,
)
from stepopsd_agent.tasks.agents.expert import AlfworldExpert
from stepopsd_agent.tasks.alfworld import ALFWORLD
from stepopsd_agent.tasks.base import first_tasks
from stepopsd_agent.tasks.search_qa import SEARCH_QA
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.search_qa.env import SearchQAEnv
from tests.helpers.command_line import refusal
from tests.helpers.retrieval import write_corpus
from tests.helpers.search_qa import write_rows

ALF = "stepopsd/ALFWorld-v0"
SEARCH = "stepopsd/SearchQA-v0"


def search_config(**sections: Any) -> RunConfig:
    """Settings of a run on Search-QA."""
    return config_from_dict({**sections, "env": {"id": SEARCH, "tier": "tiny", **sections.get("env", {})}})


@pytest.mark.parametrize(
    ("env_id", "made", "elsewhere"), [(ALF, AlfworldEnv, {"admissible"}), (SEARCH, SearchQAEnv, set())]
)
def test_environments_have_a_setting_for_every_argument(
    env_id: str, made: type[gym.Env[str, str]], elsewhere: set[str]
) -> None:
    """By the argument's name; how it is rendered, and what the prompt's layout decides, are no settings."""
    arguments = set(inspect.signature(made).parameters)
    assert set(constructor_settings(env_id)) == arguments - elsewhere - {"render_mode"}


@pytest.mark.parametrize("env_id", [SEARCH, f"stepopsd_envs:{SEARCH}"])
def test_environment_is_found_by_its_id(env_id: str) -> None:
    """Alone, or behind the module that registers it."""
    assert get(env_id) is SEARCH_QA
    assert get(ALF) is ALFWORLD
    assert {ALF, SEARCH} <= set(names())


@pytest.mark.parametrize(
    ("env_id", "named"),
    [
        ("stepopsd/SearchQA", "did you mean 'stepopsd/SearchQA-v0'"),
        (
            "somebody/Variant-v3",
            "'somebody/Variant-v3', which is not registered: registered are stepopsd/ALF",
        ),
        (f"no_such_module:{SEARCH}", "no module 'no_such_module': put the folder it is in on PYTHONPATH"),
    ],
)
def test_environment_that_is_unknown_is_refused_by_name(env_id: str, named: str) -> None:
    """Never played as another one; the message has the nearest id, or all of them, or the module."""
    with pytest.raises(ValueError) as refused:
        get(env_id)
    assert named in str(refused.value)


def test_register_keeps_an_entry_and_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same line may run twice; the module is looked for when the id is asked for."""
    monkeypatch.setattr("stepopsd_agent.tasks.registry._ENTRIES", {})
    register("somebody/Variant-v3", "no_such_module:SPEC")
    register("somebody/Variant-v3", "no_such_module:SPEC")
    assert names() == ("somebody/Variant-v3",)
    with pytest.raises(ValueError, match="registered as no_such_module:SPEC, but No module named"):
        get("somebody/Variant-v3")
    with pytest.raises(ValueError, match="registered already, as no_such_module:SPEC"):
        register("somebody/Variant-v3", "other:SPEC")


def test_register_refuses_what_is_no_task_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that reads otherwise at once, one that names something else when it is asked for."""
    monkeypatch.setattr("stepopsd_agent.tasks.registry._ENTRIES", {})
    for entry in ("module", "module:", ":NAME"):
        with pytest.raises(ValueError, match="must read 'module:NAME'"):
            register("somebody/Variant-v3", entry)
    for env_id in ("", "module:somebody/Variant-v3"):
        with pytest.raises(ValueError, match="without a module"):
            register(env_id, "module:NAME")
    register("somebody/Variant-v3", "stepopsd_agent.tasks.alfworld:HeldOutGames")
    with pytest.raises(ValueError, match="it must be a TaskSpec"):
        get("somebody/Variant-v3")


def test_spec_of_a_stack_is_the_innermost_environment_s() -> None:
    """Whatever is around it; one that Gymnasium did not make has none."""
    assert spec_of(make_stack(search_config().env)) is SEARCH_QA
    assert spec_of(make_plain_env(RunConfig().env)) is ALFWORLD
    with pytest.raises(ValueError, match=r"made without gymnasium\.make"):
        spec_of(AlfworldEnv(tier="tiny"))


def test_settings_make_the_environment_they_say() -> None:
    """Success is the exact match; an absent limit is the environment's own."""
    config = search_config(env={"topk": 2, "max_turns": 1, "task_types": ["1-hop"], "num_questions": 5}).env
    arguments = env_arguments(config)
    own = inspect.signature(SearchQAEnv).parameters["max_information"].default
    assert arguments["reward"] == "em" and arguments["max_information"] == own
    assert env_arguments(config.changed(max_information=900))["max_information"] == 900
    env = make_stack(config)
    _, info = env.reset(seed=0)
    assert info["task_type"] == "1-hop" and len(env.get_wrapper_attr("task_ids")) == 5


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"env": {"games": "train"}}, "env.games is 'train', a setting that stepopsd/SearchQA-v0 lacks"),
        ({"env": {"step_limit": 9}}, "env.step_limit is 9"),
        ({"eval": {"num_games": 9}}, "eval.num_games is"),
    ],
)
def test_settings_of_another_environment_are_refused(sections: dict[str, Any], named: str) -> None:
    """By name, with those that there are."""
    with pytest.raises(UsageError) as refused:
        check_environment(search_config(**sections))
    said = str(refused.value)
    assert said.startswith(named)
    assert "env.retriever" in said or "eval.questions, eval.num_questions" in said


def test_settings_of_the_environment_are_accepted() -> None:
    """Those of its constructor, and those of its held-out tasks."""
    check_environment(search_config(env={"topk": 5}, eval={"questions": ["a.jsonl"]}))


def test_settings_of_search_qa_are_refused_in_alfworld(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says it in one line, and so it does of what evaluation lacks."""
    line = refusal(capsys, "eval", "--agent=random", "--env.topk=2")
    assert "env.topk is '2', a setting that stepopsd/ALFWorld-v0 lacks; it has env.data_root" in line
    line = refusal(capsys, "eval", "--agent=random", "--eval.questions=nq")
    assert "eval.questions is 'nq', a setting that stepopsd/ALFWorld-v0 lacks; it has eval.every" in line


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
    assert (one.name, one.env.arguments["questions"], other.name) == ("nq", "data/nq.jsonl", "popqa")
    assert one.count == 40 and not one.again and one.total == other.total == 40
    (synthetic,) = evaluation_sets(search_config())
    assert synthetic.env.arguments["questions"] == "synthetic"
    assert synthetic.env.arguments["split"] == "test"
    assert evaluation_sets(search_config(eval={"num_questions": None}))[0].total is None


def test_episodes_of_an_evaluation_are_those_that_there_are(tmp_path: Path) -> None:
    """Of a file with fewer questions than asked for, of all of a split, and of tasks that begin again."""
    file = str(write_rows(tmp_path / "few.jsonl"))
    for asked, count in ((100, 3), (2, 2), (None, 3)):
        settings = {"questions": [file], "num_questions": asked, "seeds": 2}
        config = search_config(env={"corpus": str(write_corpus(tmp_path / "c.jsonl"))}, eval=settings)
        assert evaluation_total(config) == 2 * count
    assert evaluation_total(config_from_dict({"env": {"tier": "tiny"}, "eval": {"num_games": 700}})) == 700


@pytest.mark.parametrize("env_id", [ALF, SEARCH])
def test_evaluation_can_play_other_task_types(env_id: str) -> None:
    """Those of training, unless it has its own."""
    config = config_from_dict({"env": {"id": env_id, "task_types": ["a"]}})
    assert evaluation_sets(config)[0].env.arguments["task_types"] == ["a"]
    config.eval.arguments["task_types"] = ["b"]
    assert evaluation_sets(config)[0].env.arguments["task_types"] == ["b"]


def test_evaluation_is_held_out_where_somebody_says_so() -> None:
    """The default plays tasks of training, and is not called anything else."""
    assert ALFWORLD.evaluated == "held-out games" and SEARCH_QA.evaluated == "held-out questions"
    assert TaskSpec(unit="number").evaluated == "training numbers"
    assert first_tasks(RunConfig().env, HeldOut(episodes=3))[0].env == RunConfig().env


def test_expert_is_an_agent_by_itself() -> None:
    """It is made of the spec's expert; an agent of that name comes before it."""
    env = make_plain_env(config_from_dict({"env": {"num_games": 1}}).env)
    own = TaskSpec(expert=lambda env: AlfworldExpert)
    assert list(own.players) == ["random", "expert"] and list(TaskSpec().players) == ["random"]
    (episode,) = play_agent(own.players["expert"](env), env, task_ids(env), seed=0)
    assert episode.success
    assert ALFWORLD.players == ALFWORLD.agents


@pytest.mark.parametrize(
    ("env_id", "asked", "meant"),
    [
        (ALF, "plain", "plain"),
        (ALF, "tags", "tags"),
        (SEARCH, "plain", "search"),
        (SEARCH, "search", "search"),
        (SEARCH, "tags", "tags"),
    ],
)
def test_response_format_of_plain_is_the_environment_s_own(env_id: str, asked: str, meant: str) -> None:
    """Search-QA's actions stand in tags of their own."""
    assert response_format(config_from_dict({"env": {"id": env_id, "response": asked}}).env) == meant
