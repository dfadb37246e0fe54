"""The recorder of vector environments, where the step of one environment cannot be recorded."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_wrappers import EpisodeFormatError, read_episodes, vector as vector_wrappers
from tests.helpers.text_env import ENV_ID


class BrokenAt(gym.Wrapper[str, str, str, str]):
    """Gives a reward that is no number at the step of this index."""

    def __init__(self, env: gym.Env[str, str], index: int) -> None:
        super().__init__(env)
        self.index = index

    def step(self, action: str) -> Any:
        """Step, and spoil the reward."""
        observation, reward, *ends, info = self.env.step(action)
        return observation, float("nan") if info["step"]["index"] == self.index else reward, *ends, info


def test_record_vector_keeps_what_has_ended_when_a_step_cannot_be_recorded(tmp_path: Path) -> None:
    """The first environment ends at the step that the second spoils; the third was stepped by then, too."""
    limits, spoiled = iter([2, 9, 9]), iter([-1, 2, -1])
    envs = gym.vector.SyncVectorEnv(
        [lambda: BrokenAt(gym.make(ENV_ID, step_limit=next(limits)), next(spoiled)) for _ in range(3)]
    )
    recorder = vector_wrappers.RecordEpisode(envs, tmp_path)
    recorder.reset(seed=0)
    recorder.step(["help"] * 3)
    with pytest.raises(EpisodeFormatError, match="reward: got nan"):
        recorder.step(["help"] * 3)
    recorder.reset(seed=1)
    recorder.step(["help"] * 3)
    recorder.close()
    found = [(episode.group, episode.num_steps, episode.closed_early) for episode in read_episodes(tmp_path)]
    assert found == [(0, 2, False), (1, 1, True), (2, 1, True), (3, 1, True), (4, 1, True), (5, 1, True)]


def test_record_vector_refuses_infos_in_a_list(tmp_path: Path) -> None:
    """Before the folder is made, and not at the first reset with an error of Python."""
    envs = gym.wrappers.vector.DictInfoToList(gym.make_vec(ENV_ID, 2, vectorization_mode="sync"))
    with pytest.raises(TypeError, match="around DictInfoToList, which belongs outside"):
        vector_wrappers.RecordEpisode(gym.wrappers.vector.ClipReward(envs, 0, 1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
