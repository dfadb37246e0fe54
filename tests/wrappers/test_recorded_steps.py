"""Steps that belong in no record: of another episode, or with a text that the environment did not give."""

from collections.abc import Callable

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

from stepopsd_envs.spaces import UnicodeText
from stepopsd_wrappers import RecordEpisode, vector
from tests.helpers.text_env import make_env


def loud() -> gym.Env[str, str]:
    """An environment whose observations are changed, to texts of the same length."""
    return gym.wrappers.TransformObservation(make_env(), str.upper, UnicodeText())


def test_another_episode_of_the_environment_inside_is_refused() -> None:
    """Its first step has the index that is due, but it plays another task."""
    env = RecordEpisode(make_env())
    env.reset(seed=0, options={"game": "corridor/2"})
    env.unwrapped.reset(seed=0, options={"game": "corridor/3"})
    with pytest.raises(RuntimeError, match=r"without the recorder"):
        env.step("go right")
    env.close()
    assert env.last_episode is None


@pytest.mark.parametrize(
    "make",
    [lambda: RecordEpisode(loud()), lambda: vector.RecordEpisode(SyncVectorEnv([loud, loud]))],
    ids=["single", "vector"],
)
def test_observations_that_a_wrapper_inside_has_changed_are_refused(
    make: Callable[[], gym.Env[str, str]],
) -> None:
    """Hashes and spans in the record would be those of another text."""
    with pytest.raises(TypeError, match=r"not the observation that the environment made.*around"):
        make().reset(seed=0)
