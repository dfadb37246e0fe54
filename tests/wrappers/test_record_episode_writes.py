"""The recorder and the folder it writes to."""

from pathlib import Path

import pytest

from stepopsd_wrappers import Episode, EpisodeWriter, make_text_env, read_episodes
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
