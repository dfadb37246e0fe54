"""The recorder and the folder it writes to."""

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_wrappers import (
    Episode,
    EpisodeFormatError,
    EpisodeWriter,
    RecordEpisode,
    RecordingError,
    make_text_env,
    read_episodes,
)
from tests.helpers.text_env import make_env
from tests.wrappers.test_record_episode import play


def test_record_episode_calls_back_after_writing(tmp_path: Path) -> None:
    """The episode can already be read from the disk."""
    seen: list[tuple[Episode, list[Episode]]] = []
    env = make_text_env(
        make_env(),
        folder=tmp_path,
        on_episode=lambda episode: seen.append((episode, list(read_episodes(tmp_path)))),
    )
    episode = play(env)
    env.close()
    assert seen == [(episode, [episode])]


def test_record_episode_shares_a_writer(tmp_path: Path) -> None:
    """Which stays open when one of the recorders is closed."""
    with EpisodeWriter(tmp_path) as writer:
        one, two = (make_text_env(make_env(), writer=writer) for _ in range(2))
        first = play(one)
        one.close()
        second = play(two)
    assert list(read_episodes(tmp_path)) == [first, second]
    with pytest.raises(ValueError, match="both folder and writer"):
        make_text_env(make_env(), folder=tmp_path, writer=writer)


def test_record_episode_stays_in_its_folder_when_the_program_goes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Gymnasium's `RecordVideo` does: agents change the folder, too."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    writer = EpisodeWriter("episodes", shard_size=1)  # a shard for each episode
    env = make_text_env(make_env(), writer=writer)
    first = play(env)
    monkeypatch.chdir("other")
    played = [first, play(env)]
    writer.close()
    assert list(read_episodes(tmp_path / "episodes")) == played
    assert not list(Path().iterdir())


def test_a_recorder_with_a_folder_cannot_be_copied(tmp_path: Path) -> None:
    """Two writers would have one folder; the recorder goes on, and one without a folder can be copied."""
    env = RecordEpisode(make_env(), tmp_path / "episodes")
    env.reset(seed=0)
    for copied in (copy.deepcopy, pickle.dumps, lambda it: copy.copy(it._writer)):
        with pytest.raises(RecordingError, match="cannot be copied or pickled, as only one writer"):
            copied(env)
    env.step("go")
    env.close()
    assert len(list(read_episodes(tmp_path / "episodes"))) == 1
    alone = RecordEpisode(make_env())
    alone.reset(seed=0)
    other = copy.deepcopy(alone)
    other.step("go")
    other.close()
    assert other.last_episode is not None and alone.last_episode is None


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_reward_that_is_no_number_is_refused_at_its_step(tmp_path: Path, reward: float) -> None:
    """It would cost the whole episode at its end, and without a folder spoil what is learned from it."""

    class Broken(gym.RewardWrapper[str, str]):
        def reward(self, given: Any) -> float:
            return reward if self.unwrapped.get_wrapper_attr("transcript").count(">") > 1 else float(given)

    for folder in (None, tmp_path):
        env = RecordEpisode(Broken(make_env()), folder)
        env.reset(seed=0)
        env.step("go")
        with pytest.raises(EpisodeFormatError, match=f"reward: got {reward}"):
            env.step("go")
        env.close()
        assert env.last_episode is not None
        assert (env.last_episode.num_steps, env.last_episode.closed_early) == (1, True)
    assert list(read_episodes(tmp_path)) == [env.last_episode]
