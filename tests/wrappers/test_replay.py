"""Playing recorded episodes again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings, strategies as st

from stepopsd_wrappers import (
    Episode,
    ReplayError,
    ReplayReport,
    make_text_env,
    read_episodes,
    recorder,
    replay,
)
from tests.helpers.text_env import CorridorEnv, make_env

COMMANDS = st.one_of(
    st.sampled_from(["go left", "go right", "open door", "break", "help", " \ud800"]), st.text()
)


def record(*responses: str, seed: int | None = None, **kwargs: Any) -> Episode:
    """The episode of these responses, left early if they do not end it."""
    env = make_text_env(make_env(**kwargs), format="plain")
    env.reset(seed=seed)
    for response in responses:
        try:
            _, _, terminated, truncated, _ = env.step(response)
        except RuntimeError:
            break
        if terminated or truncated:
            break
    env.close()
    episode = recorder(env).last_episode
    assert episode is not None
    return episode


def changed(episode: Episode, index: int, **fields: Any) -> Episode:
    """The episode with other values in one step."""
    steps = list(episode.steps)
    steps[index] = replace(steps[index], **fields)
    return replace(episode, steps=tuple(steps))


@settings(deadline=None)
@given(st.lists(COMMANDS, min_size=1, max_size=6))
def test_replay_of_any_episode_is_identical(responses: list[str]) -> None:
    """Won, truncated, left early or broken, and with the seed drawn by the recorder."""
    episode = record(*responses, step_limit=4)
    report = replay(Episode.from_json(episode.to_json()))
    assert report == ReplayReport(True)
    assert str(report) == "identical"


def test_replay_of_a_folder_is_identical(tmp_path: Path) -> None:
    """From the disk, in an environment that is given and stays open."""
    with make_text_env(make_env(), folder=tmp_path) as env:
        for seed in range(3):
            env.reset(seed=seed)
            env.step("<think>so</think><action>go right</action>")
    player = make_env()
    assert [replay(episode, player).equal for episode in read_episodes(tmp_path)] == [True] * 3
    player.reset(seed=0)


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"observation": "other"}, "observation", "other"),
        ({"reward": 0.5}, "reward", 0.5),
        ({"terminated": True}, "terminated", True),
        ({"truncated": True}, "truncated", True),
        ({"error": "ValueError: x"}, "error", "ValueError: x"),
    ],
)
def test_replay_names_the_first_difference(fields: dict[str, Any], name: str, expected: Any) -> None:
    """With both values."""
    episode = record("go left", "help", "go left", seed=0)
    report = replay(changed(changed(episode, 2, **fields), 3, observation="later"))
    assert (report.equal, report.step, report.field, report.expected) == (False, 2, name, expected)
    assert str(report).startswith(f"step 2 differs in {name}: recorded {expected!r}, replayed ")


def test_replay_compares_info_to_the_innermost_field() -> None:
    """Changed, missing and additional ones."""
    episode = record("help", seed=0)
    info = episode.steps[1].info
    report = replay(changed(episode, 1, info={**info, "step": {**info["step"], "state": "0"}}))
    assert (report.step, report.field, report.expected) == (1, "info.step.state", "0")
    assert report.got == info["step"]["state"]
    report = replay(changed(episode, 1, info={**info, "extra": 1}))
    assert (report.field, report.expected, report.got) == ("info.extra", 1, None)
    report = replay(changed(episode, 1, info={k: v for k, v in info.items() if k != "won"}))
    assert (report.field, report.expected, report.got) == ("info.won", None, False)


def test_replay_notices_other_commands_and_seeds() -> None:
    """They lead elsewhere."""
    episode = record("help", "go right", seed=0)
    assert replay(changed(episode, 2, action="go left")).step == 2
    assert not replay(replace(episode, seed=1)).equal


def test_replay_notices_an_error_that_was_not_recorded_or_does_not_come() -> None:
    """An exception is an answer like any other."""
    episode = record("help", "help", seed=0)
    report = replay(changed(episode, 1, action="break"))
    assert (report.step, report.field, report.got) == (1, "error", "RuntimeError: the simulator broke")
    report = replay(changed(record("help", "break", seed=0), 2, action="help"))
    assert (report.step, report.field, report.got) == (2, "error", None)


def test_replay_refuses_other_data() -> None:
    """It would differ for a reason that no step shows."""
    with pytest.raises(
        ReplayError, match=r"recorded on data with fingerprint .* replay it with the recorded data"
    ):
        replay(record("help"), make_env(door="blue"))


def test_replay_refuses_another_engine_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another engine may answer otherwise; a record that does not name one is taken for what it is."""
    monkeypatch.setattr(CorridorEnv, "engine_version", "corridor/1")
    episode = record("help", "go right", seed=0)
    assert episode.engine_version == "corridor/1" and replay(episode).equal
    monkeypatch.setattr(CorridorEnv, "engine_version", "corridor/2")
    with pytest.raises(ReplayError, match=r"engine 'corridor/1', but here it is 'corridor/2'; .* any_engine"):
        replay(episode)
    assert replay(episode, any_engine=True).equal
    assert replay(replace(episode, engine_version="")).equal


def test_replay_needs_an_environment_for_one_made_by_hand() -> None:
    """There is no id to make it from."""
    episode = replace(record("help"), env_spec={"id": "", "kwargs": {}})
    with pytest.raises(ReplayError, match="pass an equal one as env"):
        replay(episode)
    assert replay(episode, make_env()).equal


def test_replay_closes_the_environment_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the one it was given."""
    closed: list[gym.Env[str, str]] = []
    monkeypatch.setattr(type(make_env().unwrapped), "close", lambda env: closed.append(env))
    episode = record("help")
    closed.clear()
    replay(episode, make_env())
    assert not closed
    replay(episode)
    assert len(closed) == 1
