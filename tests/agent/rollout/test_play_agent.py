"""`play_agent` takes agents of both kinds, and refuses what is none."""

from functools import partial
from typing import Any

import pytest

from stepopsd_agent.rollout import (
    Attempt,
    Decoder,
    LanguageModel,
    PaddedDecoder,
    play,
    play_agent,
    rollout,
)
from stepopsd_agent.rollout.engines import Requests
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_agent.tasks.agents import RandomAgent
from stepopsd_wrappers import Episode
from tests.helpers.engines import SlowEngine
from tests.helpers.models import tiny
from tests.helpers.runs import PARAMS, run_config


def test_play_agent_plays_the_language_model_as_rollout_does() -> None:
    """One road: the same tokens as a rollout of the same attempts."""
    policy, env = tiny(), make_stack(run_config(env={"num_games": 2}).env)
    ids = task_ids(env)
    played = play_agent(LanguageModel(policy, PARAMS, "x"), env, ids, seed=3)
    rolled = rollout(
        policy, [env], [Attempt(name, 3 + k, group=k) for k, name in enumerate(ids)], PARAMS, seed="x"
    )
    assert [one.to_json() for one in played] == [one.to_json() for one in rolled]
    assert played[0].steps[1].tokens is not None


def sampled(episodes: list[Episode]) -> list[list[tuple[int, ...]]]:
    """The ids of every step."""
    return [[step.tokens.sampled_ids for step in e.steps if step.tokens] for e in episodes]


@pytest.mark.samples
@pytest.mark.parametrize("kind", ["rows", "padded", "requests"])
def test_a_language_model_plays_again(kind: str) -> None:
    """What it draws is what a new one draws, with more slots and with fewer, and after Ctrl-C."""
    policy, slow = tiny("float64"), SlowEngine(tiny("float64"))
    slow.load(policy)
    rows: dict[str, Any] = {"rows": Decoder, "padded": PaddedDecoder, "requests": partial(Requests, slow)}
    envs = [make_stack(run_config(env={"num_games": 2, "step_limit": 3}).env) for _ in range(3)]
    attempts = [Attempt(name, 3, k, m) for k, name in enumerate(task_ids(envs[0])) for m in range(2)]
    expected = sampled(rollout(policy, envs, attempts, PARAMS, seed="x"))
    agent = LanguageModel(policy, PARAMS, "x", rows[kind])

    def interrupt(_: Episode) -> None:
        raise KeyboardInterrupt

    for slots in (2, 3):
        assert sampled(play(agent, envs[:slots], attempts)) == expected
    with pytest.raises(KeyboardInterrupt):
        play(agent, envs, attempts, on_episode=interrupt)
    slow.rest()  # as `EngineBackend` does
    assert sampled(play(agent, envs[:2], attempts)) == expected


def test_play_agent_refuses_what_is_no_agent() -> None:
    """A class, a policy, or an object without the methods, instead of episodes that all failed."""
    env = make_stack(run_config().env)
    for wrong in (RandomAgent, tiny(), object()):
        with pytest.raises(TypeError, match="give an object with reset and act, or a BatchAgent"):
            play_agent(wrong, env, task_ids(env), seed=0)  # type: ignore[arg-type]


class Speechless(Exception):
    """An exception that cannot be made into text."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


class Failing:
    """An agent that raises at its second step."""

    error: type[Exception] | Exception = Speechless

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin."""
        self.acted = False

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Look, then raise."""
        if self.acted:
            raise self.error
        self.acted = True
        return "look"


def test_play_agent_records_errors_without_a_text() -> None:
    """The record names their type; the episodes after them are played."""
    env = make_stack(run_config(env={"num_games": 2}).env)
    episodes = play_agent(Failing(), env, task_ids(env), seed=0)
    assert [episode.num_steps for episode in episodes] == [2, 2]
    assert all("agent raised Speechless: (its text" in str(one.steps[-1].error) for one in episodes)


def test_play_agent_names_the_error_whose_text_ends_in_a_line_break() -> None:
    """As that of a program that an agent called does: the last line is what commands show."""
    env, agent = make_stack(run_config(env={"num_games": 1}).env), Failing()
    agent.error = RuntimeError("the tool broke\n")
    [episode] = play_agent(agent, env, task_ids(env), seed=0)
    assert episode.steps[-1].agent_error.startswith("RuntimeError: the tool broke (test_play_agent.py, line ")
