"""vLLM beside the learner on one GPU: it gives its memory back while the learner works."""

import numpy as np
import pytest
import torch

from stepopsd_agent.rollout import SamplingParams
from stepopsd_agent.rollout.engines import Colocated, Draw
from tests.helpers.models import tiny

pytest.importorskip("vllm", reason="vLLM is not installed: pip install -e '.[vllm]'")
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.samples]


def test_vllm_sleeps_between_rollouts_and_wakes_with_the_present_weights() -> None:
    """Its share of the memory is free after `rest`, and the next rollout draws with what `load` gave it."""
    policy = tiny(device="cuda")
    engine = Colocated(policy, slots=4, max_row_tokens=512, memory_share=0.3)
    draw = Draw(np.linspace(0.1, 0.9, 12), SamplingParams(max_tokens=12), ())

    def drawn() -> tuple[int, ...]:
        engine.load(policy)
        engine.ask(0, [1, 2, 3, 4], draw)
        ids = engine.finished()[0].ids
        engine.rest()
        return ids

    first, free = drawn(), torch.cuda.mem_get_info()[0]
    engine.load(policy)
    awake = torch.cuda.mem_get_info()[0]
    engine.rest()
    assert free - awake > 0.2 * torch.cuda.mem_get_info()[1]
    assert drawn() == first
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(-1.0)
    assert drawn() != first
    engine.close()
