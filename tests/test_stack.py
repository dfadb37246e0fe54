"""The whole stack of wrappers."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from stepopsd_wrappers import (
    EpisodeWriter,
    ParseResponse,
    RecordEpisode,
    TextHistory,
    make_text_env,
    read_episodes,
    recorder,
)
from tests.text_env_for_tests import make_env


def test_make_text_env_is_made_again_from_its_spec(tmp_path: Path) -> None:
    """It records into the same folder, though an open writer was given."""
    with EpisodeWriter(tmp_path / "episodes") as writer:
        env = make_text_env(
            make_env(), format="plain", layout="window", writer=writer, on_episode=print, seed=3
        )
        spec = env.spec
    assert spec is not None
    again = gym.make(spec)
    again.reset()
    again.step("help")
    again.close()
    assert len(list(read_episodes(tmp_path / "episodes"))) == 1


@pytest.mark.filterwarnings("error", "ignore:.*different from the unwrapped version")
@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_make_text_env_passes_gymnasium_s_checker(layout: Any) -> None:
    """Warnings are errors, but for the one that there are wrappers."""
    check_env(make_text_env(make_env().unwrapped, layout=layout), skip_render_check=True)


def test_recorder_finds_the_recorder_in_a_stack() -> None:
    """Or says that there is none."""
    inner = RecordEpisode(ParseResponse(make_env()))
    assert recorder(TextHistory(inner)) is inner
    with pytest.raises(LookupError, match="has no RecordEpisode"):
        recorder(make_env())
