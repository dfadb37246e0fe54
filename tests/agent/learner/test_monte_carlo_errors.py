"""Errors of the environment while Monte-Carlo values are estimated: put up with as in play, and no longer."""

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import pytest
import torch

from stepopsd_agent.batch import collate
from stepopsd_agent.learner import monte_carlo_values
from stepopsd_agent.rollout import FAILURE_LIMIT, EnvironmentDownError
from stepopsd_agent.tasks import env_arguments
from stepopsd_wrappers import Episode, make_text_env
from tests.agent.learner.test_columns import fresh_attempts, played
from tests.helpers.models import tiny
from tests.helpers.runs import run_config

pytestmark = pytest.mark.samples
POLICY = tiny()


class Flaky(gym.Wrapper[str, str, str, str]):
    """Raises at some of its calls of reset and step, which are counted together from 0."""

    def __init__(self, env: gym.Env[str, str], bad: range) -> None:
        """Raise at the calls `bad`."""
        super().__init__(env)
        self.bad, self.calls = bad, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Raise when due."""
        self._count()
        return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Raise when due."""
        self._count()
        return self.env.step(action)

    def _count(self) -> None:
        self.calls += 1
        if self.calls - 1 in self.bad:
            raise ConnectionError("the simulator is gone")


def flaky(bad: range) -> gym.Env[str, str]:
    """A stack like those that played."""
    config = run_config().env
    return make_text_env(Flaky(gym.make(config.id, **env_arguments(config)), bad), format="plain")


def calls(env: gym.Env[str, str]) -> int:
    """How often it was reset or stepped."""
    return int(env.get_wrapper_attr("calls"))


def told(attempts: Sequence[Episode]) -> list[list[tuple[str, str]]]:
    """What was said: log-probabilities differ by rounding where an attempt is played again among others."""
    return [[(step.action, step.observation) for step in episode.steps] for episode in attempts]


def test_monte_carlo_values_put_up_with_errors_for_a_while() -> None:
    """Wherever a call fails, while commands are repeated or in an attempt, values are those without errors.

    One attempt per state: where it fails none is left, and it is played again.
    """
    episodes = played(POLICY, members=1)
    batch = collate(episodes, pad_id=POLICY.pad_id)
    env = flaky(range(0))
    expected = monte_carlo_values(POLICY, [env], episodes, batch, fresh_attempts(1))
    last = calls(env)
    for first in (0, 3, last // 3, last // 2, last - 1):
        for bad in (range(first, first + 1), range(first, first + 4)):
            found = monte_carlo_values(POLICY, [flaky(bad)], episodes, batch, fresh_attempts(1))
            assert torch.equal(found.values, expected.values), bad
            assert told(found.attempts) == told(expected.attempts), bad


@pytest.mark.parametrize("count", [1, 3])
def test_monte_carlo_values_end_where_the_environment_stays_gone(count: int) -> None:
    """After 20 failures, from the start on, in the middle of repeating, or once attempts are played."""
    episodes = played(POLICY, members=1)
    batch = collate(episodes, pad_id=POLICY.pad_id)
    repeats = len(episodes[0].steps) - 1
    for first in (0, 3, repeats, repeats + 10):
        env = flaky(range(first, 10_000))
        with pytest.raises(EnvironmentDownError, match=r"20 times in a row.*the simulator is gone"):
            monte_carlo_values(POLICY, [env], episodes, batch, fresh_attempts(count))
        assert calls(env) - first < 4 * FAILURE_LIMIT
