"""Any agent plays through one road, and every episode of it is a record."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, SupportsFloat

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import (
    Attempt,
    EnvironmentDownError,
    Failures,
    demonstrate,
    play,
    play_agent,
    rollout,
    success_table,
)
from stepopsd_agent.rollout.one_at_a_time import OneAtATime
from stepopsd_agent.rollout.playing import Response, Slot
from stepopsd_agent.tasks import env_arguments, make_plain_env, task_ids
from stepopsd_agent.tasks.agents import RandomAgent
from stepopsd_wrappers import Episode, RecordEpisode, make_text_env, replay
from stepopsd_wrappers.text_history import text_history
from tests.agent.rollout.test_language_model import GAMES, PARAMS, attempts, play as play_all, sampled
from tests.helpers.runs import run_config, taught


def test_play_agent_records_every_game_under_its_own_seed() -> None:
    """In order, told of one by one, and replayable."""
    env = make_plain_env(run_config(env={"num_games": 3}).env)
    told: list[Episode] = []
    episodes = play_agent(RandomAgent(), env, task_ids(env), seed=5, on_episode=told.append)
    assert episodes == told
    assert [(e.task_id, e.seed, e.group) for e in episodes] == [
        (name, 5 + k, k) for k, name in enumerate(task_ids(env))
    ]
    assert all(replay(episode).equal for episode in episodes)


def test_play_agent_plays_the_same_every_time() -> None:
    """Equal seeds, equal records; another seed, other commands."""
    env = make_plain_env(run_config(env={"num_games": 2}).env)
    ids = task_ids(env)
    first = play_agent(RandomAgent(), env, ids, seed=0)
    assert play_agent(RandomAgent(), env, ids, seed=0) == first
    other = play_agent(RandomAgent(), env, ids, seed=1)
    assert [s.action for s in other[0].steps] != [s.action for s in first[0].steps]


def test_play_refuses_a_second_environment_for_an_agent_of_one_place() -> None:
    """Its memory is of one episode; the message says what to give."""
    config = run_config(env={"num_games": 2}).env
    envs = [make_plain_env(config) for _ in range(2)]
    two = [Attempt(name, seed=0) for name in task_ids(envs[0])]
    with pytest.raises(ValueError, match="give one environment"):
        play(OneAtATime(RandomAgent()), envs, two)


class Silent(OneAtATime):
    """Gives no response."""

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Nothing."""
        return []


def test_play_refuses_environments_and_responses_that_do_not_fit() -> None:
    """Before anything is stepped."""
    env = make_plain_env(run_config(env={"num_games": 1}).env)
    attempts = [Attempt(task_ids(env)[0], seed, member=seed) for seed in range(2)]
    for envs, message in (
        ([], "envs lists 0 environments, 0 distinct; give some, each once"),
        ([env, env], "envs lists 2 environments, 1 distinct; give some, each once"),
        ([env, RecordEpisode(env.unwrapped)], "envs lists 2 environments, 1 distinct"),
    ):
        with pytest.raises(ValueError, match=message):
            play(OneAtATime(RandomAgent()), envs, attempts)
    closed = make_plain_env(run_config(env={"num_games": 1}).env)
    closed.close()
    with pytest.raises(gym.error.ClosedEnvironmentError):  # not a record of a failed episode
        play(OneAtATime(RandomAgent()), [closed], attempts)
    with pytest.raises(ValueError, match="act returned 0 responses for 1 places"):
        play(Silent(RandomAgent()), [env], attempts)


class Speechless(Silent):
    """Gives responses without a text."""

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """One for every place."""
        return [Response(None) for _ in slots]  # type: ignore[arg-type]


def test_play_refuses_responses_without_a_text() -> None:
    """Before it gets into a record, where it would be an empty response."""
    env = make_plain_env(run_config(env={"num_games": 1}).env)
    with pytest.raises(TypeError, match="act returned a Response with None as its text; give it a str"):
        play(Speechless(RandomAgent()), [env], [Attempt(task_ids(env)[0], 0)])


class FirstTaskOnly(gym.Wrapper[str, str, str, str]):
    """Begins its first task, whatever the options ask for."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Replace the task that was asked for."""
        option = self.get_wrapper_attr("task_option")
        return self.env.reset(seed=seed, options={option: task_ids(self.env)[0]})


def test_play_refuses_an_environment_that_begins_another_task() -> None:
    """Groups would otherwise compare attempts at different tasks."""
    env = FirstTaskOnly(make_plain_env(run_config(env={"num_games": 2}).env))
    first, second = task_ids(env)
    play(OneAtATime(RandomAgent()), [env], [Attempt(first, seed=0)])
    with pytest.raises(ValueError, match="must read options"):
        play(OneAtATime(RandomAgent()), [env], [Attempt(second, seed=0)])


class Breaking(gym.Wrapper[str, str, str, str]):
    """Fails at the second step of every episode with the seed 13."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Note the seed."""
        self.seed, self.count = seed, 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Fail when due."""
        self.count += 1
        if self.seed == 13 and self.count == 2:
            raise RuntimeError("the simulator broke")
        return self.env.step(action)


class TimingOut(RandomAgent):
    """Raises in the first reset, in the third episode's second act, and gives no text in the fourth."""

    episode = 0

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Count the episodes."""
        self.episode, self.turn = self.episode + 1, 0
        if self.episode == 1:
            raise ConnectionError("no server")
        super().reset(seed, observation, info)

    def act(self, observation: str, info: dict[str, Any]) -> Any:
        """Raise when due."""
        self.turn += 1
        if (self.episode, self.turn) == (3, 2):
            raise TimeoutError("no answer within 1 s")
        return None if self.episode == 4 else super().act(observation, info)


def test_play_keeps_an_error_of_the_agent_as_a_record() -> None:
    """With the line that raised it; the other episodes are as ever, and all of them replay."""
    env = make_plain_env(run_config(env={"num_games": 5, "step_limit": 6}).env)
    episodes = play_agent(TimingOut(), env, task_ids(env), seed=0)
    errors = [episode.steps[-1].agent_error.partition(" (test_playing.py, line ")[0] for episode in episodes]
    assert errors == [
        "ConnectionError: no server",
        "",
        "TimeoutError: no answer within 1 s",
        "TypeError: act returned None; return the action as a str",
        "",
    ]
    assert [episode.failed for episode in episodes] == [True, False, True, True, False]
    assert [episode.num_steps for episode in episodes] == [1, 6, 2, 1, 6]
    assert not any(episode.success for episode in episodes)
    whole = play_agent(RandomAgent(), env, task_ids(env), seed=0)
    assert [episodes[1], episodes[4]] == [whole[1], whole[4]]
    assert episodes[2].steps[:2] == whole[2].steps[:2]
    assert all(
        replay(episode).equal and Episode.from_json(episode.to_json()) == episode for episode in episodes
    )


@pytest.mark.samples
def test_play_keeps_an_error_of_the_environment_as_a_record() -> None:
    """The others go on, and so does the slot it happened in."""
    policy = taught("float64")
    envs = [
        make_text_env(Breaking(gym.make(GAMES.id, **env_arguments(GAMES))), format="plain") for _ in range(2)
    ]
    played = [replace(attempt, seed=13) if k == 1 else attempt for k, attempt in enumerate(attempts())]
    episodes = rollout(policy, envs, played, PARAMS, seed="test")
    assert [e.steps[-1].error for e in episodes] == [None, "RuntimeError: the simulator broke", *[None] * 4]
    assert episodes[1].num_steps == 2 and not episodes[1].success
    others = [e for k, e in enumerate(episodes) if k != 1]
    assert sampled(others) == sampled([e for k, e in enumerate(play_all(policy, slots=2)) if k != 1])


class Refusing(gym.Wrapper[str, str, str, str]):
    """Its reset raises for some tasks, as that of a world whose server or data are gone."""

    def __init__(self, env: gym.Env[str, str], bad: Sequence[str], error: Exception) -> None:
        """Raise `error` for the tasks `bad`."""
        super().__init__(env)
        self.bad, self.error = bad, error

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Raise when due."""
        if options and options.get(self.get_wrapper_attr("task_option")) in self.bad:
            raise self.error
        return self.env.reset(seed=seed, options=options)


def refusing(bad: slice, error: Exception) -> gym.Env[str, str]:
    """A stack over six games, some of which cannot be begun."""
    env = gym.make(GAMES.id, **env_arguments(replace(GAMES, arguments=GAMES.arguments | {"num_games": 6})))
    return make_text_env(Refusing(env, task_ids(env)[bad], error), format="plain")


@pytest.mark.parametrize("bad", [slice(0, 1), slice(2, 4), slice(4, 6), slice(0, 6)])
def test_play_keeps_an_error_of_a_reset_as_a_record(bad: slice) -> None:
    """First, between, last, or all: an error of reset is one of the environment, as that of step is."""
    env = refusing(bad, json.JSONDecodeError("damaged", "game", 3))
    told: list[Episode] = []
    episodes = play_agent(RandomAgent(), env, task_ids(env), seed=5, on_episode=told.append)
    assert told == episodes and [e.task_id for e in episodes] == list(task_ids(env))
    assert [e.seed for e in episodes] == [5 + k for k in range(6)]
    assert [e.group for e in episodes] == list(range(6))
    failed = [e for e in episodes if e.failed]
    assert [e.task_id for e in failed] == list(task_ids(env)[bad])
    for episode in failed:
        assert episode.steps[-1].error == "JSONDecodeError: damaged: line 1 column 4 (char 3)"
        assert episode.num_steps == 1 and not episode.success and episode.task_type == "not begun"
        assert Episode.from_json(episode.to_json()) == episode
    assert all(replay(e, env.get_wrapper_attr("env")).equal for e in failed)
    assert all(replay(e).equal for e in episodes if not e.failed)
    assert success_table(episodes)["errors"] == len(failed)


def test_resets_that_fail_again_and_again_end_the_play() -> None:
    """They are counted as failed steps are; the message quotes the environment."""
    env = refusing(slice(0, 6), ConnectionError("no simulator"))
    failures = Failures()
    with pytest.raises(EnvironmentDownError, match=r"20 times in a row.*ConnectionError: no simulator"):
        play_agent(RandomAgent(), env, task_ids(env) * 4, seed=0, on_episode=failures.note)


def test_a_demonstration_whose_reset_fails_is_left_out() -> None:
    """The others are made, with and without a peer."""
    env = refusing(slice(1, 3), RuntimeError("damaged"))
    made = demonstrate(env, task_ids(env), 0.0, seed=0)
    assert [one.episode.task_id for one in made] == [task_ids(env)[k] for k in (0, 3, 4, 5)]


@pytest.mark.samples
def test_an_attempt_at_a_snapshot_that_cannot_be_restored_is_a_record() -> None:
    """With the steps before the snapshot, and the error as one more."""
    env = make_text_env(BadSnapshots(gym.make(GAMES.id, **env_arguments(GAMES))), format="plain")
    name = task_ids(env)[0]
    env.reset(seed=1, options={env.get_wrapper_attr("task_option"): name})
    env.step("look")
    snapshot = text_history(env).snapshot()
    attempt = Attempt(name, seed=1, snapshot=snapshot)
    fine = Attempt(name, seed=2)
    episodes = play(OneAtATime(RandomAgent()), [env], [attempt, fine])
    assert [step.error for step in episodes[0].steps] == [None, None, "OSError: disk gone"]
    assert episodes[0].steps[:2] == snapshot.episode.steps and not episodes[1].failed


class BadSnapshots(gym.Wrapper[str, str, str, str]):
    """Cannot go back to a snapshot."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Raise for a snapshot."""
        if options and "snapshot" in options:
            raise OSError("disk gone")
        return self.env.reset(seed=seed, options=options)
