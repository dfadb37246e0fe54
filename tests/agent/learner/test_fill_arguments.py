"""Arguments of `fill` that are of another kind."""

from typing import Any

import pytest

from stepopsd_agent.batch import collate
from stepopsd_agent.learner import fill
from tests.agent.learner.test_columns import played
from tests.helpers.models import tiny


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"policy": "runs/warm"}, r"policy is 'runs/warm', of type str; give a Policy"),
        ({"teacher": "runs/teacher"}, r"teacher is 'runs/teacher', .*give weights, such as policy.state\(\)"),
        ({"reference": tiny()}, r"reference is .*of type Policy; give weights"),
        ({"critic": tiny()}, r"critic is .*give a Critic"),
        ({"hindsight": {"mode": "peer"}}, r"hindsight is .*give a HindsightConfig"),
        ({"teacher_rows": [True] * 4}, r"teacher_rows is .*give a Tensor"),
        ({"needs": None}, r"needs is None; give names of columns"),
        ({"needs": "value"}, r"needs is 'value'; give names of columns"),
        ({"batch": []}, r"batch is \[\]; give a Batch, as collate"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(given: dict[str, Any], problem: str) -> None:
    """Before anything is computed: what was given, and what to give."""
    policy = tiny()
    episodes = played(policy)
    right: dict[str, Any] = {
        "batch": collate(episodes),
        "episodes": episodes,
        "needs": set(),
        "policy": policy,
    }
    with pytest.raises((TypeError, ValueError), match=problem):
        fill(**right | given)
