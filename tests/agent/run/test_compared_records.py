"""Methods compared on records: a teacher's gap is hindsight alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from stepopsd_agent.accuracy import Entry
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit, CreditMethod
from stepopsd_agent.rollout import Attempt, rollout
from stepopsd_agent.run import compare_records
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode
from tests.agent.learner.test_gap_kernel import counted
from tests.helpers.models import tiny
from tests.helpers.runs import PARAMS, run_config

pytestmark = pytest.mark.samples
SEEN: list[Batch] = []


@dataclass(frozen=True)
class Looking:
    """A method with a teacher that gives no credit."""

    paper: ClassVar[str] = "none"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Any]] = frozenset()
    needs: ClassVar[frozenset[str]] = frozenset({"student_logprobs", "teacher_logprobs"})

    def __call__(self, batch: Batch) -> Credit:
        """Keep the batch that it is given."""
        SEEN.append(batch)
        return Credit(torch.zeros_like(batch.tokens.old_logprobs))


class LookingEntry(Entry):
    """Makes it without registering it."""

    def make(self) -> CreditMethod:
        """The method."""
        return Looking()


def ended(episode: Episode, won: bool) -> Episode:
    """The record as if it had ended so."""
    *before, last = episode.steps
    info: Mapping[str, Any] = {**last.info, "won": won}
    return replace(episode, steps=(*before, replace(last, info=dict(info))))


def test_compared_student_and_teacher_are_scored_in_the_same_passes() -> None:
    """In half precision; attempts that are shown nothing beside others that are have a gap of exactly 0."""
    config = run_config(env={"oracle": True}, hindsight={"mode": "peer"})
    policy, envs = tiny("bfloat16"), [make_stack(config.env) for _ in range(4)]
    task = task_ids(envs[0])[0]
    attempts = [Attempt(task, seed=0, member=member) for member in range(4)]
    episodes = [ended(e, e.member == 1) for e in rollout(policy, envs, attempts, PARAMS)]
    SEEN.clear()
    with counted(policy) as sizes:
        found = compare_records(episodes, config, [LookingEntry("looking", "looking")], policy)
    (batch,) = SEEN
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    assert teacher is not None and student is not None
    of_row = batch.steps.episode_of_step[batch.tokens.step_of_token.amax(1)]
    gaps = (teacher - student).abs().amax(1)
    assert bool((gaps[of_row == 1] == 0).all()) and bool((gaps[of_row != 1] > 0).all())
    (untold,) = (of_row == 1).nonzero()[:, 0].tolist()
    length = int(batch.action_mask[untold].nonzero().max()) + 1
    assert sizes.count(length) == 2  # a pass of its own, of the teacher and of the student beside it
    assert found["methods"]["looking"]["tokens"] > 0
