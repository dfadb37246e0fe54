"""Whose episode a record is, and that mistakes of a caller cut none short."""

from pathlib import Path

import gymnasium as gym
import pytest

from stepopsd_wrappers import EpisodeWriter, RecordEpisode, make_text_env, read_episodes
from tests.helpers.text_env import make_env
from tests.wrappers.test_record_episode import play


def test_recorders_of_one_folder_never_record_the_same_identity(tmp_path: Path) -> None:
    """One after another, or at once with a shared writer: attempts at other tasks are no group."""
    for _ in range(2):
        env = make_text_env(make_env(), folder=tmp_path)
        for _ in range(2):
            play(env)
        env.close()
    with EpisodeWriter(tmp_path) as writer:
        for _ in range(2):
            play(make_text_env(make_env(), writer=writer))
    runs = [(episode.run, episode.group) for episode in read_episodes(tmp_path)]
    assert len(set(runs)) == 6
    assert [run for run, _ in runs[::2]] == ["", "from episode 2", "from episode 4"]


def test_record_episode_refuses_a_negative_seed_as_gymnasium_does(tmp_path: Path) -> None:
    """The running episode goes on: nothing is cut short by a mistake."""
    env = make_text_env(make_env(), folder=tmp_path)
    env.reset(seed=0)
    env.step("help")
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        env.reset(seed=-1)
    env.step("help")
    env.close()
    assert [episode.num_steps for episode in read_episodes(tmp_path)] == [2]


def test_record_episode_that_refuses_its_seed_leaves_the_folder_alone(tmp_path: Path) -> None:
    """Neither made nor locked, as by a notebook, which keeps the error and all that it is about."""
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        RecordEpisode(make_env(), tmp_path / "episodes", seed=-1)
    assert not (tmp_path / "episodes").exists()
