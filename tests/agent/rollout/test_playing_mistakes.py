"""Mistakes that are not the environment's end the play with their message, and are no record."""

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import Attempt, play
from stepopsd_agent.rollout.one_at_a_time import OneAtATime
from stepopsd_agent.tasks import task_ids
from stepopsd_agent.tasks.agents import RandomAgent
from stepopsd_wrappers import TextHistory, recorder
from tests.agent.rollout.test_language_model import play as play_all
from tests.agent.rollout.test_playing import refusing
from tests.helpers.runs import taught


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
