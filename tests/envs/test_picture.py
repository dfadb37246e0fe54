"""Pictures of transcripts, and Gymnasium's wrappers that take them."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo, TimeAwareObservation, TimeLimit

import stepopsd_envs  # noqa: F401  # registers its environments
from stepopsd_envs.picture import BACKGROUND, BAR, COMMAND, HEIGHT, WIDTH, picture
from stepopsd_wrappers import env_spec, find_wrapper, make_text_env, recorder, replay
from tests.helpers.countdown import Countdown

ALF = "stepopsd/ALFWorld-v0"


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    """The colours of a picture."""
    return {tuple(map(int, pixel)) for pixel in np.unique(image.reshape(-1, 3), axis=0)}


def test_picture_shows_the_newest_exchange_and_the_status() -> None:
    """Of fixed size and repeatable; another text is another picture."""
    one = picture("Welcome.", "> look\nYou see a mug.", "step 1 of 50")
    assert one.shape == (HEIGHT, WIDTH, 3) and one.dtype == np.uint8
    assert {BACKGROUND, BAR, COMMAND} <= colours(one)
    assert np.array_equal(one, picture("Welcome.", "> look\nYou see a mug.", "step 1 of 50"))
    assert not np.array_equal(one, picture("Welcome.", "> look\nYou see a cup.", "step 1 of 50"))


def test_picture_takes_any_text() -> None:
    """A line of a megabyte, control characters, half a surrogate pair, none at all; the bar stays free."""
    for text in ("x" * 2**20, "\x1b[2J\ud800\u202e\u4e2d\t", "", "\n" * 5000):
        image = picture(text, text, text)
        assert image.shape == (HEIGHT, WIDTH, 3) and tuple(image[-1, 0]) == BAR


def test_render_gives_the_transcript_as_a_picture() -> None:
    """It changes with every step, until won."""
    env = Countdown(render_mode="rgb_array")
    env.reset(options={"number": 2})
    frames = [env.render()]
    for _ in range(2):
        env.step("down")
        frames.append(env.render())
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 3
    assert len({frame.tobytes() for frame in frames}) == 3


def test_record_video_films_an_episode(tmp_path: Path) -> None:
    """With moviepy, as Gymnasium asks for."""
    pytest.importorskip("moviepy", reason="needs moviepy, which is not installed")
    plain = gym.make(ALF, tier="tiny", step_limit=3, render_mode="rgb_array")
    env: Any = RecordVideo(plain, str(tmp_path))
    env.reset(seed=0)
    for _ in range(3):
        env.step("look")
    env.close()
    (film,) = tmp_path.glob("*.mp4")
    assert film.stat().st_size > 1000


def test_the_step_limit_stands_in_the_spec() -> None:
    """Where wrappers look for it, without a TimeLimit; records name only a limit that was put around."""
    env: Any = gym.make(ALF, tier="tiny", step_limit=7)
    assert (
        env.spec is not None and env.spec.max_episode_steps == 7 and gym.spec(ALF).max_episode_steps is None
    )
    assert find_wrapper(env, TimeLimit) is None and "max_episode_steps" not in env_spec(env)["kwargs"]
    limited = make_text_env(gym.make(ALF, tier="tiny", step_limit=7, max_episode_steps=2))
    assert env_spec(recorder(limited).env)["kwargs"]["max_episode_steps"] == 2
    limited.reset(seed=0)
    assert [limited.step("look")[3] for _ in range(2)] == [False, True]
    assert replay(recorder(limited).last_episode).equal  # type: ignore[arg-type]


def test_time_aware_observation_counts_to_the_limit() -> None:
    """Beside the text, as texts cannot be flattened."""
    env = TimeAwareObservation(gym.make(ALF, tier="tiny", step_limit=7), flatten=False, normalize_time=True)
    env.reset(seed=0)
    observation, *_ = env.step("look")
    assert observation["time"] == pytest.approx([1 / 7])
