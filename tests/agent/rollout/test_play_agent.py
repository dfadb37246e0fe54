"""`play_agent` takes agents of both kinds, and refuses what is none."""

from typing import Any

import pytest

from stepopsd_agent.rollout import Attempt, LanguageModel, play_agent, rollout
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_agent.tasks.agents import RandomAgent
from tests.helpers.models import tiny
from tests.helpers.runs import PARAMS, run_config


def test_play_agent_plays_the_language_model_as_rollout_does() -> None:
    """One road: the same tokens as a rollout of the same attempts."""
    policy, env = tiny(), make_stack(run_config(env={"num_games": 2}).env)
    ids = task_ids(env)
    played = play_agent(LanguageModel(policy, PARAMS, "x"), env, ids, seed=3)
    rolled = rollout(
        policy, [env], [Attempt(name, 3 + k, group=k) for k, name in enumerate(ids)], PARAMS, seed="x"
    )
    assert [one.to_json() for one in played] == [one.to_json() for one in rolled]
    assert played[0].steps[1].tokens is not None


def test_play_agent_refuses_what_is_no_agent() -> None:
    """A class, a policy, or an object without the methods, instead of episodes that all failed."""
    env = make_stack(run_config().env)
    for wrong in (RandomAgent, tiny(), object()):
        with pytest.raises(TypeError, match="give an object with reset and act, or a BatchAgent"):
            play_agent(wrong, env, task_ids(env), seed=0)  # type: ignore[arg-type]


class Speechless(Exception):
    """An exception that cannot be made into text."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


class Failing:
    """An agent that raises at its second step."""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin."""
        self.acted = False

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Look, then raise."""
        if self.acted:
            raise Speechless
        self.acted = True
        return "look"


def test_play_agent_records_errors_without_a_text() -> None:
    """The record names their type; the episodes after them are played."""
    env = make_stack(run_config(env={"num_games": 2}).env)
    episodes = play_agent(Failing(), env, task_ids(env), seed=0)
    assert [episode.num_steps for episode in episodes] == [2, 2]
    assert all("agent raised Speechless: (its text" in str(one.steps[-1].error) for one in episodes)
