"""When an environment counts as down."""

from dataclasses import replace
from typing import Any

import pytest

from stepopsd_agent.rollout import EnvironmentDownError, Failures
from stepopsd_agent.rollout.failures import FAILURE_LIMIT
from stepopsd_wrappers import Episode
from tests.helpers.text_env import make_episode


def episode(*kinds: str, error: str | None = None) -> Episode:
    """A record whose steps did these things; the last one fails when there is an error."""
    whole = make_episode(num_steps=len(kinds))
    steps = list(whole.steps)
    for place, kind in enumerate(kinds, start=1):
        info: dict[str, Any] = {**steps[place].info, "step": {**steps[place].info["step"], "kind": kind}}
        steps[place] = replace(steps[place], info=info)
    if error:
        steps[-1] = replace(steps[-1], info={}, error=error)
    return replace(whole, steps=tuple(steps))


def fail(failures: Failures, times: int, *kinds: str) -> None:
    """Note so many episodes that an error ends at their last step."""
    for _ in range(times):
        failures.note(episode(*kinds, "search", error="RetrieverError: the library is closed"))


def test_failures_in_a_row_are_too_many() -> None:
    """The message says how many and quotes the last; the records are there."""
    failures = Failures()
    fail(failures, FAILURE_LIMIT - 1)
    with pytest.raises(EnvironmentDownError, match=r"20 times in a row.*the library is closed") as down:
        fail(failures, 1)
    assert len(down.value.episodes) == FAILURE_LIMIT == 20


def test_failures_of_an_agent_say_so() -> None:
    """Whoever failed has to be mended."""
    failures = Failures()
    with pytest.raises(
        EnvironmentDownError, match=r"^the agent failed 20 times.*with TimeoutError: no answer\."
    ):
        for _ in range(FAILURE_LIMIT):
            failures.note(episode("invalid", error="the agent raised TimeoutError: no answer"))


@pytest.mark.parametrize("kind", ["search", "act"])
def test_failures_are_forgotten_when_something_works(kind: str) -> None:
    """In an episode without an error, or before the error in one."""
    failures = Failures()
    fail(failures, FAILURE_LIMIT - 1)
    failures.note(episode("answer", kind))
    fail(failures, FAILURE_LIMIT - 1)
    fail(failures, 1, kind)
    fail(failures, FAILURE_LIMIT - 2)


def test_failures_are_not_forgotten_by_what_asks_nothing() -> None:
    """Answers and invalid actions do not touch the retriever, so they say nothing about it."""
    failures = Failures()
    fail(failures, FAILURE_LIMIT - 1, "invalid")
    failures.note(episode("invalid", "answer"))
    with pytest.raises(EnvironmentDownError):
        fail(failures, 1, "invalid")
