"""Steps that belong in no record: of another episode, with another text, or without what readers need."""

from collections.abc import Callable

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

from stepopsd_envs.spaces import UnicodeText
from stepopsd_wrappers import EpisodeFormatError, RecordEpisode, vector
from tests.helpers.text_env import make_env
from tests.wrappers.test_record_episode import StrangeInfo


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


@pytest.mark.parametrize("key", ["task_id", "task_type", "won"])
def test_record_episode_says_at_once_what_its_readers_need(key: str) -> None:
    """Tables, pages and exports read it, and would fail after everything has been played."""
    env = RecordEpisode(StrangeInfo(make_env(), lambda info: info.pop(key)))
    with pytest.raises(EpisodeFormatError, match=rf"info\['{key}'\] is missing, but records need a "):
        env.reset(seed=0)


def test_record_episode_needs_the_outcome_at_every_step() -> None:
    """The last step has it, and any step may become the last."""
    env = RecordEpisode(
        StrangeInfo(make_env(), lambda info: info.update(won=[True, 1][info["step"]["index"]]))
    )
    env.reset(seed=0)
    with pytest.raises(EpisodeFormatError, match=r"info\['won'\] is 1, but records need a bool"):
        env.step("help")
