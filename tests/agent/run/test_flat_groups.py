"""Flat groups in a run: the teacher is not asked about them, and nothing that is learned changes."""

from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.rollout import mixed_groups, whole_groups
from stepopsd_agent.run import Trainer, trainer as module
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples


def trainer(name: str, **settings: Any) -> Trainer:
    """Four groups of three; among them are flat ones."""
    rollout = {"tasks": 4, "group_size": 3}
    learner = {"lr": 3e-3, "kl_coef": 0.0, "tokens_per_micro_batch": 1}
    return Trainer(run_config(rollout=rollout, learner=learner, **settings), credit.make(name), taught())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each call of a scorer: a student is asked beside the teacher, and about the same rows."""
    rows: list[int] = []

    def count(scorer: Any, batch: Batch, *blocks: Any) -> torch.Tensor:
        rows.append(batch.num_rows)
        return batch_logprobs(scorer, batch, *blocks)

    monkeypatch.setattr("stepopsd_agent.learner.columns.batch_logprobs", count)
    return rows


@pytest.mark.parametrize(("name", "skips"), [("step_opsd", True), ("rlsd", True), ("sdar", False)])
def test_the_teacher_is_asked_about_groups_that_have_credit(name: str, skips: bool, asked: list[int]) -> None:
    """Unless the method learns from the teacher everywhere."""
    one = trainer(name)
    episodes = whole_groups(one.collect())
    mixed = len(mixed_groups(episodes))
    one.score(episodes)
    assert sum(asked) == (2 * mixed if skips else len(episodes))  # sdar's student is that of the update


def test_a_batch_without_any_credit_asks_no_teacher(asked: list[int]) -> None:
    """It agrees with the student, and there is no gap to report."""
    one = trainer("step_opsd")
    first = one.collect()[:1]
    batch = one.score(first)
    assert asked == [] and batch.tokens.teacher_logprobs is not None
    assert torch.equal(batch.tokens.teacher_logprobs, batch.tokens.old_logprobs)
    assert not one.assign(batch).advantages.any()


@pytest.mark.parametrize("name", ["step_opsd", "agent_opsd", "grpo"])
def test_what_is_learned_is_the_same_as_if_all_were_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, credit and its metrics, over two updates; rows are scored one by one, so to the bit."""
    one, other = trainer(name, hindsight={"refresh": 2}), trainer(name, hindsight={"refresh": 2})
    for _ in range(2):
        mine = one.step()
        with monkeypatch.context() as patch:
            patch.setattr(module, "teacher_rows", lambda method, batch: None)
            theirs = other.step()
        assert mine[0] == theirs[0]
        for metric, value in theirs[1].items():
            if not metric.startswith("signal/gap"):
                assert mine[1][metric] == value
    states = one.policy.state(), other.policy.state()
    assert all(torch.equal(weight, states[1][key]) for key, weight in states[0].items())
    assert one.counters.scored <= other.counters.scored
