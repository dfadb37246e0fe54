"""Copies of the weights that a run keeps beside the model, and the plan of them."""

import gc
from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.planning.plan import host_memory
from stepopsd_agent.run.planning.shapes import shape_of
from tests.helpers.live_bytes import LiveBytes
from tests.helpers.models import DType, tiny
from tests.helpers.runs import run_config


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("teacher", ["initial", "stale", "ema"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plan_of_copies_on_the_host_is_above_their_peak(dtype: DType, teacher: str, rank: int) -> None:
    """Beside a KL term, over moves of the teacher, the current weights of a pass among them."""
    if rank:
        pytest.importorskip("peft", reason="needs the extra lora")
    changed: Any = {"learner": {"kl_coef": 0.1, "lora": {"rank": rank}}}
    config = run_config(hindsight={"teacher": teacher, "refresh": 2}, **changed)
    policy, live = tiny(dtype), LiveBytes()
    one = Trainer(config, credit.make("step_opsd"), policy)
    kept = sum(x.nbytes for held in (one.initial, one.teacher) for x in (held or {}).values())
    with live:
        for _ in range(3):
            one._move_teacher()
            one.update += 1
            gc.collect()
    shape = shape_of(policy.model.config, config.learner.lora, policy.model.dtype)
    planned = host_memory(config, shape, policy.model.dtype.itemsize)
    begun = sum(x.nbytes for x in (one.policy.state() if one.teacher is not None else {}).values())
    most = max(kept, kept - begun + live.peak)  # the first teacher has made room for the next
    assert most <= planned
    one.close()
