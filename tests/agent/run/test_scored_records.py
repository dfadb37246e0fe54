"""Records that are scored without a run: which of a model's tokens stand for the action."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import gymnasium as gym
import pytest

import stepopsd_envs  # noqa: F401
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.run.scored_records import envs_to_ask, grouped, with_some_tokens
from stepopsd_wrappers import Episode, RecordEpisode, make_text_env
from tests.helpers.models import tiny
from tests.helpers.runs import run_config
from tests.helpers.search_qa import ROWS, write_rows
from tests.helpers.text_env import make_episode


def answered(folder: Path, question: str) -> list[Episode]:
    """Three attempts at a question that is called q1, whatever is asked."""
    folder.mkdir(exist_ok=True)
    questions = write_rows(folder / "questions.jsonl", [{**ROWS[0], "question": question}])
    corpus = write_rows(folder / "corpus.jsonl", [{"id": "1", "title": "Mill", "contents": "It is old."}])
    made = gym.make("stepopsd/SearchQA-v0", questions=str(questions), corpus=str(corpus))
    env = RecordEpisode(made)
    return play_agent(Says("<answer>nobody</answer>"), env, ["q1"] * 3, seed=0)


class Says:
    """Says one thing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def reset(self, seed: int, observation: str, info: dict[str, object]) -> None:
        """Nothing to remember."""

    def act(self, observation: str, info: dict[str, object]) -> str:
        """Without looking."""
        return self.text


@pytest.mark.parametrize("settings", [EnvConfig(), EnvConfig(id="stepopsd/SearchQA-v0")])
def test_actions_are_found_in_the_format_of_the_environment_that_was_played(settings: EnvConfig) -> None:
    """A search stands between tags, whatever environment the settings are of."""
    policy, response = tiny(), "<think> so </think> <search> go right </search>"
    played = make_episode(num_steps=1, response=response)
    played = replace(played, steps=tuple(replace(step, tokens=None) for step in played.steps))
    played = replace(played, env_spec={"id": "stepopsd/SearchQA-v0", "kwargs": {}})
    (scored,) = with_some_tokens([played], replace(run_config(), env=settings), policy)
    tokens = scored.steps[1].tokens
    assert tokens is not None
    start, end = tokens.action_span
    found = policy.tokenizer.decode(list(tokens.sampled_ids[start:end]))
    assert isinstance(found, str) and found.strip() == "<search> go right </search>"
    elsewhere = replace(played, env_spec={"id": "someones/Game-v0", "kwargs": {}})
    tokens = with_some_tokens([elsewhere], run_config(), policy)[0].steps[1].tokens
    assert tokens is not None and tokens.action_span == (0, len(tokens.sampled_ids))


@pytest.mark.parametrize("settings", ["plain", "tags"])
@pytest.mark.parametrize(
    ("played", "said", "found"),
    [("tags", "<think>so</think><action> look </action>", "look"), ("plain", "look\nor not", "look\nor not")],
)
def test_actions_are_found_in_the_format_that_was_played(
    settings: Literal["plain", "tags"], played: Literal["plain", "tags"], said: str, found: str
) -> None:
    """Whatever format the settings name."""
    policy = tiny()
    env = make_text_env(gym.make("stepopsd/ALFWorld-v0", tier="tiny", step_limit=2), format=played)
    recorded = play_agent(Says(said), env, env.get_wrapper_attr("task_ids")[:1], seed=0)
    (scored,) = with_some_tokens(recorded, replace(run_config(), env=EnvConfig(response=settings)), policy)
    for step in scored.steps[1:]:
        assert step.tokens is not None
        start, end = step.tokens.action_span
        assert policy.decode(step.tokens.sampled_ids[start:end]).strip() == found


def test_attempts_at_tasks_of_one_name_in_two_sets_are_two_groups(tmp_path: Path) -> None:
    """Two files of questions may each have a q1."""
    first, second = answered(tmp_path / "a", "Who built it?"), answered(tmp_path / "b", "How old is it?")
    (together,) = grouped([*first, *second], "task")
    assert [episode.group for episode in together] == [0, 0, 0, 1, 1, 1]
    assert [episode.member for episode in together] == [0, 1, 2, 0, 1, 2]


def test_attempts_at_one_game_with_things_numbered_otherwise_are_apart() -> None:
    """What is "mug 1" in one of them is "mug 2" in another; equal seeds number alike."""
    made = gym.make("stepopsd/ALFWorld-v0", tier="tiny", step_limit=1, domain_randomization=True)
    env = RecordEpisode(made)
    played = [play_agent(Says("look"), env, ["generated/tiny/train/0"], seed=seed)[0] for seed in (0, 1, 0)]
    (together,) = grouped(played, "task")
    assert [(episode.group, episode.member) for episode in together] == [(0, 0), (1, 0), (0, 1)]


def test_gold_answers_are_asked_of_the_tasks_that_were_played(tmp_path: Path) -> None:
    """Neither of another set with the same names, nor of a file that has changed since."""
    first, second = answered(tmp_path / "a", "Who built it?"), answered(tmp_path / "b", "How old is it?")
    needs = {"gold_answer_logprob"}
    assert len(envs_to_ask(first, run_config(), needs)) == 1
    with pytest.raises(ValueError, match="2 sets of tasks, and gold"):
        envs_to_ask([*first, *second], run_config(), needs)
    answered(tmp_path / "a", "Who owns it?")
    with pytest.raises(ValueError, match="other tasks than were played"):
        envs_to_ask(first, run_config(), needs)
