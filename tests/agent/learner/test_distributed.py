"""Two processes share an update and come to the weights that one comes to alone."""

import multiprocessing
from dataclasses import replace
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from stepopsd_agent.config import CriticConfig
from stepopsd_agent.credit import LossTerm
from stepopsd_agent.learner import Critic, Learner
from stepopsd_agent.learner.distributed import UnequalBatchesError, own_share
from stepopsd_agent.ops import distillation
from tests.agent.learner.test_learner import batch_for, credit_for
from tests.helpers.models import tiny

CASES = ((6, 0), (3, 0), (6, 4), (6, 6))
"""Rows of the batch, and how many of them have no advantage."""
SETTINGS: dict[str, Any] = {"lr": 1e-3, "kl_coef": 0.0, "mini_batches": 2, "weight_decay": 0.0}


def updated(
    group: dist.ProcessGroup | None, rows: int, flat: int
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weights and figures after two updates on a batch that every process has."""
    policy = tiny("float64")
    batch = batch_for(policy, episodes=rows)
    learner = Learner(policy, group=group, **SETTINGS)
    credit = credit_for(batch)
    learner.update(batch, credit)
    credit.advantages[:flat] = 0
    stats = learner.update(batch, credit)
    return policy.state(), stats


def worker(rank: int, file: str, out: "Queue[Any]") -> None:
    """One of two processes; the first tells what came of it, for every number of rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    group = dist.new_group([0, 1])
    for rows, flat in CASES:
        state, stats = updated(group, rows, flat)
        if rank == 0:
            out.put(({name: weight.tolist() for name, weight in state.items()}, stats))
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_two_processes_update_as_one(tmp_path: Path) -> None:
    """Also where one of them has no row of a mini-batch, or none with an advantage."""
    context = multiprocessing.get_context("spawn")
    out: Queue[Any] = context.Queue()
    where = str(tmp_path / "meet")
    both = [context.Process(target=worker, args=(rank, where, out)) for rank in range(2)]
    for process in both:
        process.start()
    found = [out.get(timeout=120) for _ in CASES]
    for process in both:
        process.join(60)
    for (rows, flat), (state, stats) in zip(CASES, found, strict=True):
        expected, alone = updated(None, rows, flat)
        for name, weight in expected.items():
            mine = torch.tensor(state[name], dtype=weight.dtype)
            torch.testing.assert_close(mine, weight, atol=1e-9, rtol=0)
        assert stats == pytest.approx(alone, abs=1e-7)


DIFFERENT = (
    *("episodes", "rows", "advantages", "old_logprobs", "weights", "settings", "rate"),
    *("teacher", "loss", "ref_logprobs", "reference", "position_ids"),
    *("frozen", "below an adapter"),
    *("critic's episodes", "critic's targets", "critic's rate", "critic's weights"),
)


def unequal(rank: int, group: dist.ProcessGroup, what: str) -> bool:
    """Whether an update is refused, and no weight changed, where the second process has another `what`."""
    other = rank == 1
    policy = tiny("float64", seed=int(other and what == "weights"))
    rows, seed = 4 if other and what == "rows" else 6, int(other and what == "episodes")
    batch = batch_for(policy, episodes=rows, seed=seed)
    credit = credit_for(batch)
    if other and what == "advantages":
        credit = replace(credit, advantages=-credit.advantages)
    if other and what == "old_logprobs":
        batch = batch.with_columns(old_logprobs=2 * batch.tokens.old_logprobs)
    if what in ("teacher", "loss"):
        teacher = batch.tokens.old_logprobs - float(other and what == "teacher")
        gate = partial(distillation.gated_distillation, gate_beta=float(other and what == "loss"))
        term = LossTerm("teacher", gate, credit.advantages.abs(), (teacher,))
        credit = replace(credit, terms=(term,))
    if what == "ref_logprobs":
        batch = batch.with_columns(ref_logprobs=batch.tokens.old_logprobs - float(other))
    if other and what == "position_ids":
        batch = batch.with_columns(position_ids=batch.tokens.position_ids + 1)
    if what.startswith("critic"):
        return critic_refused(group, what if other else "")
    embedding = next(iter(policy.model.parameters()))
    embedding.requires_grad_(what != "below an adapter" and not (other and what == "frozen"))
    if other and what == "below an adapter":
        embedding.data += 0.01
    settings = {**SETTINGS, "clip_high": 0.3} if other and what == "settings" else SETTINGS
    if what in ("ref_logprobs", "reference"):
        settings = {**settings, "kl_coef": 0.1}
    before = policy.state()
    reference = tiny("float64", seed=1).state() if other and what == "reference" else None
    try:
        rate = 0.5 if other and what == "rate" else 1.0
        Learner(policy, group=group, reference=reference, **settings).update(batch, credit, rate=rate)
    except UnequalBatchesError:
        return all(torch.equal(before[name], weight) for name, weight in policy.state().items())
    return False


def critic_refused(group: dist.ProcessGroup, other: str) -> bool:
    """Whether a critic's update is refused, and changes nothing, where one process has another."""
    policy = tiny("float64", seed=int(other == "critic's weights"))
    batch = batch_for(policy, seed=int(other == "critic's episodes"))
    lr = 2e-3 if other == "critic's rate" else 1e-3
    critic = Critic(policy, CriticConfig(lr=lr), group=group)
    before = critic.tensors()["critic"]
    targets = torch.ones(batch.num_steps) * (2 if other == "critic's targets" else 1)
    try:
        critic.learn(batch, targets)
    except UnequalBatchesError:
        return all(torch.equal(before[name], weight) for name, weight in critic.tensors()["critic"].items())
    return False


def differing(rank: int, file: str, out: "Queue[Any]") -> None:
    """One of two processes whose work differs."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    group = dist.new_group([0, 1])
    out.put([what for what in DIFFERENT if not unequal(rank, group, what)])
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_processes_with_different_work_are_refused_before_a_weight_changes(tmp_path: Path) -> None:
    """By every process, whatever differs: the sum of their gradients would belong to no batch at all."""
    context = multiprocessing.get_context("spawn")
    out: Queue[Any] = context.Queue()
    arguments = [(rank, str(tmp_path / "meet"), out) for rank in range(2)]
    both = [context.Process(target=differing, args=given) for given in arguments]
    for process in both:
        process.start()
    assert [out.get(timeout=120) for _ in both] == [[], []]
    for process in both:
        process.join(60)


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_own_share_of_a_group_of_one_is_everything(tmp_path: Path) -> None:
    """A single process works on all rows."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        rows = torch.arange(5)
        assert torch.equal(own_share(rows, dist.new_group([0])), rows)
    finally:
        dist.destroy_process_group()
