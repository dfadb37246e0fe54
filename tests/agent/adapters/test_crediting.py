"""Credit beside another trainer is what this project's own trainer would give, from update to update."""

from collections.abc import Sequence

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.adapters import Crediting
from stepopsd_agent.learner import TaskHistory
from stepopsd_agent.run.scored_records import with_some_tokens
from stepopsd_agent.tasks.agents import ExpertAgent, RandomAgent
from stepopsd_wrappers import Episode
from tests.agent.learner.test_lifted_plans import episodes_of
from tests.helpers.models import tiny
from tests.helpers.runs import run_config


def group(episodes: Sequence[Episode]) -> Sequence[Episode]:
    """The episodes with a token for each step."""
    return with_some_tokens(episodes, run_config(), None)


@pytest.mark.parametrize(("method", "settings"), [("path_gain", {"lifted": True}), ("tigpo", {})])
def test_crediting_knows_the_updates_before(method: str, settings: dict[str, bool]) -> None:
    """A lost attempt is judged by what was won in the update before, with each of the two histories."""
    crediting = Crediting(credit.make(method, **settings))
    policy, lost = tiny(), group(episodes_of(RandomAgent(), [8]))
    assert isinstance(crediting.history, TaskHistory)
    _, alone = crediting(policy, lost, update=0)
    crediting(policy, group(episodes_of(ExpertAgent(), range(9))), update=1)
    _, after = crediting(policy, lost, update=2)
    assert not torch.equal(alone.advantages, after.advantages)
