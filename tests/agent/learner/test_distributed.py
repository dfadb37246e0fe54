"""Two processes share an update and come to the weights that one comes to alone."""

import multiprocessing
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from stepopsd_agent.learner import Learner
from stepopsd_agent.learner.distributed import own_share
from tests.agent.learner.test_learner import batch_for, credit_for
from tests.helpers.models import tiny

ROWS = (6, 3)
SETTINGS: dict[str, Any] = {"lr": 1e-3, "kl_coef": 0.0, "mini_batches": 2, "weight_decay": 0.0}


def updated(group: dist.ProcessGroup | None, rows: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weights and figures after two updates on a batch that every process has."""
    policy = tiny("float64")
    batch = batch_for(policy, episodes=rows)
    learner = Learner(policy, group=group, **SETTINGS)
    learner.update(batch, credit_for(batch))
    stats = learner.update(batch, credit_for(batch))
    return policy.state(), stats


def worker(rank: int, file: str, out: "Queue[Any]") -> None:
    """One of two processes; the first tells what came of it, for every number of rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    group = dist.new_group([0, 1])
    for rows in ROWS:
        state, stats = updated(group, rows)
        if rank == 0:
            out.put(({name: weight.tolist() for name, weight in state.items()}, stats))
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_two_processes_update_as_one(tmp_path: Path) -> None:
    """Also where one of them has no row of a mini-batch."""
    context = multiprocessing.get_context("spawn")
    out: Queue[Any] = context.Queue()
    where = str(tmp_path / "meet")
    both = [context.Process(target=worker, args=(rank, where, out)) for rank in range(2)]
    for process in both:
        process.start()
    found = [out.get(timeout=120) for _ in ROWS]
    for process in both:
        process.join(60)
    for rows, (state, stats) in zip(ROWS, found, strict=True):
        expected, alone = updated(None, rows)
        for name, weight in expected.items():
            mine = torch.tensor(state[name], dtype=weight.dtype)
            torch.testing.assert_close(mine, weight, atol=1e-9, rtol=0)
        assert stats == pytest.approx(alone, abs=1e-7)


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_own_share_of_a_group_of_one_is_everything(tmp_path: Path) -> None:
    """A single process works on all rows."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        rows = torch.arange(5)
        assert torch.equal(own_share(rows, dist.new_group([0])), rows)
    finally:
        dist.destroy_process_group()
