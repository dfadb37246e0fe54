"""Mistakes that are not the environment's end the play with their message, and are no record."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import Attempt, play, play_agent
from stepopsd_agent.rollout.one_at_a_time import OneAtATime
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_agent.tasks.agents import AgentError, RandomAgent
from stepopsd_wrappers import TextHistory, recorder
from tests.agent.rollout.test_language_model import play as play_all
from tests.agent.rollout.test_playing import refusing
from tests.helpers.runs import run_config, taught


def test_play_does_not_keep_mistakes_of_its_caller() -> None:
    """A task that is none, a seed that is none, and observations that are no text: each with its message."""
    env = refusing(slice(0, 0), RuntimeError())
    with pytest.raises(ValueError, match="no-such-game"):
        play(OneAtATime(RandomAgent()), [env], [Attempt("no-such-game", seed=0)])
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        play(OneAtATime(RandomAgent()), [env], [Attempt(task_ids(env)[0], seed=-1)])
    assert recorder(env).last_episode is None


@pytest.mark.samples
@pytest.mark.parametrize("fault", [KeyboardInterrupt, AssertionError])
def test_play_does_not_keep_its_own_mistakes(
    fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails outside the environment, or is no error at all, ends the play."""

    def wrong(self: gym.Env[str, str], action: str) -> None:
        raise fault("not the environment")

    monkeypatch.setattr(TextHistory, "step", wrong)
    with pytest.raises(fault):
        play_all(taught())


class Meddling:
    """An agent with the environment that it plays in; it does something there at its reset or first act."""

    def __init__(
        self, env: gym.Env[str, str], when: str, what: Callable[[gym.Env[str, str]], object]
    ) -> None:
        self.env, self.when, self.what, self.done = env, when, what, False

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin."""
        self._meddle("reset")

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Look."""
        self._meddle("act")
        return "look"

    def _meddle(self, when: str) -> None:
        if when == self.when and not self.done:
            self.done = True
            self.what(self.env)


@pytest.mark.parametrize("when", ["reset", "act"])
@pytest.mark.parametrize(
    "what",
    [
        lambda env: env.reset(seed=3),
        lambda env: env.step("look"),
        lambda env: env.close(),
    ],
)
def test_play_agent_ends_where_the_agent_plays_in_the_environment_itself(
    when: str, what: Callable[[gym.Env[str, str]], object]
) -> None:
    """One that resets it, as in a loop of Gymnasium, would be judged by other tasks than those asked for."""
    env = make_plain_env(run_config(env={"num_games": 2}).env)
    with pytest.raises(AgentError, match="reset, stepped or closed the environment"):
        play_agent(Meddling(env, when, what), env, task_ids(env), seed=0)


def test_play_agent_lets_an_agent_look_at_the_environment() -> None:
    """Reading changes nothing."""
    env = make_plain_env(run_config(env={"num_games": 2}).env)
    agent = Meddling(env, "act", lambda env: env.get_wrapper_attr("oracle").plan())
    played = play_agent(agent, env, task_ids(env), seed=0)
    assert [one.task_id for one in played] == list(task_ids(env))
