"""Flat groups in a run: the teacher is not asked about them, and nothing that is learned changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import learner
from stepopsd_agent.rollout import mixed_groups, whole_groups
from stepopsd_agent.run import Trainer, trainer as module
from stepopsd_wrappers import Episode
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples


TEACHERS = [
    name for name in credit.names() if any(need.startswith("teacher") for need in credit.make(name).needs)
]


def trainer(name: str, mini_batches: int = 1, **settings: Any) -> Trainer:
    """Four groups of three; among them are flat ones."""
    rollout = {"tasks": 4, "group_size": 3}
    update = {"lr": 3e-3, "kl_coef": 0.0, "tokens_per_micro_batch": 1, "mini_batches": mini_batches}
    return Trainer(run_config(rollout=rollout, learner=update, **settings), credit.make(name), taught())


def won(episode: Episode, first: bool) -> Episode:
    """The episode with a return of 1 or 0, all of it in the last step, and no refused commands."""
    steps = [
        replace(step, reward=0.0, info={**step.info, "step": {**step.info["step"], "valid": True}})
        for step in episode.steps
    ]
    return replace(episode, steps=(*steps[:-1], replace(steps[-1], reward=float(first))))


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


@pytest.mark.parametrize("name", TEACHERS)
def test_passes_over_one_rollout_leave_flat_rows_out_of_every_mini_batch(
    name: str, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three passes in four mini-batches: the weights of an update that asks and computes all, to the bit."""
    one, other = trainer(name, mini_batches=4), trainer(name, mini_batches=4)
    episodes = [won(episode, episode.group % 2 == episode.member == 1) for episode in one.collect()]
    mixed = len(mixed_groups(episodes, one.config.rollout))
    assert (mixed, len(episodes)) == (6, 12)
    batch = one.score(episodes)
    mine, rows = one.assign(batch), sum(asked)
    with monkeypatch.context() as patch:
        patch.setattr(module, "teacher_rows", lambda method, batch: None)
        whole = other.score(episodes)
        theirs = other.assign(whole)
    scales = "teacher_scales" in credit.load(name).claims
    assert (rows, sum(asked) - rows) == ((2 * mixed, 2 * len(episodes)) if scales else (rows, rows))
    assert torch.equal(mine.advantages, theirs.advantages)
    for number in range(3):
        stats = one.learner.update(batch, mine, seed=number)
        with monkeypatch.context() as patch:
            patch.setattr(learner, "learned_from", lambda rows, *_, **__: (rows, 0.0))
            all_stats = other.learner.update(whole, theirs, seed=number)
        assert stats["loss"] == all_stats["loss"] and "mini_batches" not in stats
    states = one.policy.state(), other.policy.state()
    assert all(torch.equal(weight, states[1][key]) for key, weight in states[0].items())
    assert (one.learner.budget.take() < other.learner.budget.take()) == scales


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
