"""The recorder in a stack of wrappers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded

from stepopsd_wrappers import (
    Episode,
    EpisodeFormatError,
    RecordEpisode,
    make_text_env,
    read_episodes,
    recorder,
)
from tests.helpers.text_env import ENV_ID, make_env, make_tokens


def play(env: gym.Env[str, str], *responses: str, seed: int | None = 0, game: str = "corridor/2") -> Episode:
    """Play the responses, then go on and open the door; return what was recorded last."""
    env.reset(seed=seed, options={"game": game})
    for response in responses:
        env.step(response)
    terminated = False
    while not terminated:
        env.step("<action>go right</action>")
        _, _, terminated, *_ = env.step("<action>open door</action>")
    return last(env)


def last(env: gym.Env[str, str]) -> Episode:
    """The episode recorded last."""
    episode = recorder(env).last_episode
    assert episode is not None
    return episode


def test_record_episode_holds_raw_observation_raw_response_and_parsed_action() -> None:
    """Though prompts come out of the stack and responses go in."""
    episode = play(make_text_env(make_env()), "<think>?</think><action> go left </action>", "sing")
    first, second, third = episode.steps[:3]
    assert (first.response, first.action, first.reward) == ("", "", 0.0)
    assert first.observation.startswith("You stand at") and not first.observation.endswith("> ")
    assert (second.response, second.action) == ("<think>?</think><action> go left </action>", "go left")
    assert second.observation == "You stand at 0." and second.reward == -0.1
    assert (third.response, third.action, third.observation) == ("sing", "", "Nothing happens.")
    assert [step.info["step"]["index"] for step in episode.steps] == list(range(len(episode.steps)))
    assert episode.success and episode.steps[-1].terminated and not episode.steps[-1].truncated


def test_record_episode_changes_nothing_on_the_way() -> None:
    """Values and types are those of the environment."""
    raw, env = make_env(), RecordEpisode(make_env())
    assert env.reset(seed=5) == raw.reset(seed=5)
    for command in ("go right", "sing", "help"):
        assert env.step(command) == raw.step(command)
    assert env.observation_space == raw.observation_space and env.action_space == raw.action_space


def test_record_episode_writes_every_episode_at_its_end(tmp_path: Path) -> None:
    """In the order they ended."""
    env = make_text_env(make_env(), folder=tmp_path)
    episodes = [play(env, seed=seed) for seed in range(3)]
    assert list(read_episodes(tmp_path)) == episodes
    env.close()
    assert list(read_episodes(tmp_path)) == episodes
    assert (tmp_path / "manifest.json").exists()


def test_record_episode_tells_how_the_environment_was_made(tmp_path: Path) -> None:
    """Enough for gym.make; paths as strings, and without the way it was drawn."""
    episode = play(make_text_env(make_env(step_limit=9, render_mode="ansi", max_episode_steps=20)))
    assert episode.env_spec == {"id": ENV_ID, "kwargs": {"step_limit": 9, "max_episode_steps": 20}}
    assert episode.task_id == "corridor/2" and episode.task_type == "walk_and_open"
    for name in ("fingerprint", "engine_version"):
        assert getattr(episode, name) == make_env().get_wrapper_attr(name)
    assert play(make_text_env(make_env(door=tmp_path))).env_spec["kwargs"] == {"door": str(tmp_path)}
    assert play(make_text_env(make_env().unwrapped)).env_spec["id"] == ENV_ID


def test_record_episode_keeps_its_own_copy_of_info() -> None:
    """An agent may change what it was given."""
    env = RecordEpisode(make_env())
    _, info = env.reset(seed=0)
    info["admissible_commands"].clear()
    info["step"]["index"] = 99
    env.step("go left")
    env.close()
    assert last(env).steps[0].info["admissible_commands"] and last(env).steps[0].info["step"]["index"] == 0


def test_record_episode_draws_a_seed_when_none_is_given() -> None:
    """Drawn by the recorder's seed, or the last one given to reset; so every episode can be replayed."""
    seeds = []
    for _ in range(2):
        env = make_text_env(make_env(), seed=1)
        seeds.append([play(env, seed=None).seed for _ in range(3)])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    env = make_text_env(make_env())
    assert [play(env, seed=7).seed, play(env, seed=None).seed] == [
        play(env, seed=7).seed,
        play(env, seed=None).seed,
    ]
    assert play(make_text_env(make_env()), seed=None).seed != play(make_text_env(make_env()), seed=None).seed
    assert play(make_text_env(make_env()), seed=7).seed == 7


def test_record_episode_identifies_episodes() -> None:
    """Those that nobody identified are groups of their own, after the last one."""
    env = make_text_env(make_env())
    unnamed = [play(env), play(env)]
    recorder(env).identify(run="demo", update=3, group=4, member=5)
    named, after = play(env), play(env)
    ids = [(e.run, e.update, e.group, e.member) for e in (*unnamed, named, after)]
    assert ids == [("", 0, 0, 0), ("", 0, 1, 0), ("demo", 3, 4, 5), ("demo", 3, 5, 0)]


def test_record_episode_left_early_keeps_its_own_identity() -> None:
    """The name given before a reset is not that of the episode which the reset ends."""
    env = make_text_env(make_env())
    for group in range(3):
        recorder(env).identify(run="demo", group=group)
        env.reset(seed=0)
        assert group == 0 or last(env).group == group - 1
        env.step("help")


def test_record_episode_puts_tokens_on_the_step_they_made() -> None:
    """And on no other."""
    env = make_text_env(make_env())
    env.reset(seed=0)
    recorder(env).annotate(make_tokens(4))
    env.step("a")
    env.step("b")
    recorder(env).annotate(make_tokens(1))
    env.reset(seed=0)
    assert [step.tokens for step in last(env).steps] == [None, make_tokens(4), None]
    env.step("c")
    env.close()
    assert last(env).steps[1].tokens is None


def close(env: gym.Env[str, str]) -> None:
    """End the episode by closing."""
    env.close()


def reset(env: gym.Env[str, str]) -> None:
    """End the episode by beginning another."""
    env.reset(seed=1)


@pytest.mark.parametrize("end", [close, reset])
def test_record_episode_left_early_is_recorded_as_truncated(
    tmp_path: Path, end: Callable[[gym.Env[str, str]], None]
) -> None:
    """Once, with all its steps."""
    env = make_text_env(make_env(), folder=tmp_path)
    env.reset(seed=0)
    env.step("<action>help</action>")
    env.step("sing")
    end(env)
    env.close()
    (episode,) = read_episodes(tmp_path)
    assert episode.num_steps == 2 and episode.closed_early
    assert [step.truncated for step in episode.steps] == [False, False, True]
    assert not episode.steps[-1].terminated


def test_record_episode_at_the_step_limit_is_the_environment_s_own_truncation() -> None:
    """It is not said to be closed early."""
    env = make_text_env(make_env(step_limit=2))
    env.reset(seed=0)
    env.step("a")
    env.step("b")
    assert last(env).steps[-1].truncated and not last(env).closed_early


def test_record_episode_without_an_action_is_not_recorded(tmp_path: Path) -> None:
    """Resetting twice is no episode."""
    with make_text_env(make_env(), folder=tmp_path) as env:
        env.reset(seed=0)
        env.reset(seed=1)
    assert list(read_episodes(tmp_path)) == []


def test_record_episode_records_what_the_environment_raised(tmp_path: Path) -> None:
    """The error goes on to the caller, and the next episode is recorded as usual."""
    env = make_text_env(make_env(), folder=tmp_path)
    env.reset(seed=0)
    env.step("<action>help</action>")
    with pytest.raises(RuntimeError, match="the simulator broke"):
        env.step("Let us <action>break</action>")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("<action>help</action>")
    play(env)
    env.close()
    failed, following = read_episodes(tmp_path)
    assert failed.steps[-1].error == "RuntimeError: the simulator broke"
    assert (failed.steps[-1].response, failed.steps[-1].action) == ("Let us <action>break</action>", "break")
    assert failed.steps[-1].truncated and failed.num_steps == 2 and not failed.success
    assert following.success


def test_record_episode_needs_a_reset_first() -> None:
    """And after each end."""
    env = RecordEpisode(make_env().unwrapped)
    with pytest.raises(ResetNeeded, match="no episode is running"):
        env.step("help")
    with pytest.raises(ResetNeeded, match="no episode is running"):
        env.fail("TimeoutError: no answer")


def test_record_episode_notices_steps_taken_behind_it() -> None:
    """A record with a gap would be replayed wrongly and learned from wrongly."""
    env = RecordEpisode(make_env())
    env.reset(seed=0)
    env.unwrapped.step("help")
    with pytest.raises(RuntimeError, match="at step 2, but 1 steps were recorded"):
        env.step("help")


def test_record_episode_refuses_to_begin_in_the_middle() -> None:
    """The running episode is not lost by that."""
    env = RecordEpisode(make_env())
    env.reset(seed=0)
    env.step("help")
    with pytest.raises(ValueError, match="options has a snapshot"):
        env.reset(options={"snapshot": {}})
    env.step("help")
    env.close()
    assert last(env).num_steps == 2


class StrangeInfo(gym.Wrapper[str, str, str, str]):
    """Adds to the info what JSON cannot hold, or takes away what the recorder needs."""

    def __init__(self, env: gym.Env[str, str], change: Callable[[dict[str, Any]], object]) -> None:
        gym.Wrapper.__init__(self, env)
        self.change = change

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Change the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.change(info)
        return observation, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Change the info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.change(info)
        return observation, reward, terminated, truncated, info


def test_record_episode_names_info_that_json_cannot_hold() -> None:
    """At once, not at the end of the episode."""
    env = RecordEpisode(StrangeInfo(make_env(), lambda info: info.update(seen={1, 2})))
    with pytest.raises(EpisodeFormatError, match=r"info\.seen: got builtins\.set"):
        env.reset(seed=0)


def test_record_episode_says_what_an_environment_must_tell() -> None:
    """With the name of one that does."""
    env = RecordEpisode(StrangeInfo(make_env(), lambda info: info.pop("step")))
    with pytest.raises(KeyError, match=r"info has no 'step'.*stepopsd/ALFWorld-v0"):
        env.reset(seed=0)


@pytest.mark.parametrize("kind", ["say", None, "Act"])
def test_record_episode_refuses_a_kind_that_nobody_knows(kind: object) -> None:
    """Whoever plays: evaluation would not notice, but a batch for training has no place for it."""

    def rename(info: dict[str, Any]) -> None:
        if info["step"]["index"]:
            info["step"]["kind"] = kind

    env = RecordEpisode(StrangeInfo(make_env(), rename))
    env.reset(seed=0)
    with pytest.raises(EpisodeFormatError, match=rf"is of kind {kind!r}.*one of reset, act, search, answer"):
        env.step("help")
