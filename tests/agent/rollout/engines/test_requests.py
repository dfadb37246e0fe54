"""Responses that end one by one: the same episodes as in step, whatever an engine does with its requests."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from stepopsd_agent.config import RolloutConfig
from stepopsd_agent.rollout import LATER, Attempt, Response, SamplingParams, Slot, play, rollout
from stepopsd_agent.rollout.engines import EngineBackend, EngineError, Requests, opened_backend
from stepopsd_agent.rollout.language_model import LanguageModel
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode
from tests.helpers.engines import SlowEngine
from tests.helpers.runs import PARAMS, run_config, taught

STOPPED = SamplingParams(max_tokens=12, max_row_tokens=512, stop=("1",))


def attempts(count: int) -> list[Attempt]:
    """Members of one group."""
    name = task_ids(make_stack(run_config().env))[0]
    return [Attempt(name, seed=0, member=member) for member in range(count)]


def sampled(episodes: list[Episode]) -> list[list[tuple[int, ...]]]:
    """The ids of every step."""
    return [[step.tokens.sampled_ids for step in e.steps if step.tokens] for e in episodes]


def both(params: SamplingParams, layout: str = "transcript", **engine: Any) -> tuple[Any, Any, SlowEngine]:
    """Ids as the built-in decoder draws them and as an engine does, for six attempts in three slots."""
    env = run_config(env={"layout": layout}).env
    policy, slow = taught("float64"), SlowEngine(taught("float64"), **engine)
    expected = rollout(policy, [make_stack(env) for _ in range(3)], attempts(6), params, seed="engine")
    slow.load(policy)
    agent = LanguageModel(policy, params, "engine", partial(Requests, slow))
    found = play(agent, [make_stack(env) for _ in range(3)], attempts(6))
    return sampled(expected), sampled(found), slow


@pytest.mark.samples
@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_episodes_are_those_of_the_built_in_decoder(layout: str) -> None:
    """Responses that come one at a time, newest first, change nothing, with a row per episode or per step."""
    expected, found, slow = both(PARAMS, layout)
    assert found == expected and not slow.running
    assert len(slow.lengths) == sum(map(len, found))  # one request for each response


@pytest.mark.samples
@pytest.mark.parametrize("engine", [{}, {"piece": 2}, {"ends": False}])
def test_responses_end_where_the_built_in_decoder_ends_them(engine: dict[str, Any]) -> None:
    """An engine that stops too early is asked on, one that goes on beyond a stop string is cut."""
    expected, found, _ = both(STOPPED, **engine)
    assert found == expected
    assert any(len(ids) < STOPPED.max_tokens for episode in found for ids in episode)


@pytest.mark.samples
def test_rows_are_sent_whole() -> None:
    """A request begins with all that its row holds: later turns are longer than the first."""
    _, found, slow = both(PARAMS)
    assert max(slow.lengths) > min(slow.lengths) + sum(map(len, max(found, key=len)[:-1]))


@pytest.mark.samples
def test_an_engine_that_draws_nothing_is_an_error() -> None:
    """Else the same would be asked for without end."""
    policy = taught()
    slow = SlowEngine(policy, piece=0)
    rows = Requests(slow, policy, 1, PARAMS)
    with pytest.raises(EngineError, match="drew no token"):
        rows.respond([[1, 2]], np.zeros((1, PARAMS.max_tokens)))


class Hesitant:
    """Answers only one place at a time, the last one first."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def begin(self, place: int, slot: Slot) -> None:
        """Note the attempt."""
        self.begun.append(slot.number)

    def act(self, slots: list[Slot]) -> list[Response]:
        """Later, all but one."""
        return [*[LATER] * (len(slots) - 1), Response("look")]

    def is_full(self, place: int, slot: Slot) -> bool:
        """Never."""
        return False

    def keep(self, places: list[int]) -> None:
        """Nothing to renumber."""


def test_a_place_that_waits_keeps_its_episode() -> None:
    """No environment is stepped for `LATER`, and a free place takes the next attempt meanwhile."""
    agent, env = Hesitant(), run_config().env
    played = play(agent, [make_stack(env) for _ in range(3)], attempts(5))  # type: ignore[arg-type]
    assert agent.begun == [0, 1, 2, 3, 4]
    assert [episode.member for episode in played] == [0, 1, 2, 3, 4]
    assert len({episode.num_steps for episode in played}) == 1 and not any(e.failed for e in played)


def test_the_settings_name_the_backend() -> None:
    """The built-in decoder unless they say otherwise; nothing is started before something is played."""
    with opened_backend(RolloutConfig()) as backend:
        assert backend is rollout
    with opened_backend(RolloutConfig(backend="vllm")) as backend:
        assert isinstance(backend, EngineBackend)


@pytest.mark.samples
def test_a_backend_refuses_rows_that_its_engine_cannot_hold() -> None:
    """They would end in the middle of an episode."""
    backend = EngineBackend(RolloutConfig(backend="vllm", max_row_tokens=256))
    with pytest.raises(EngineError, match=r"512 tokens were asked for.*256: raise rollout\.max_row_tokens"):
        backend(taught(), [], [], PARAMS)
