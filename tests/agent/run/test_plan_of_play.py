"""What the built-in decoder takes at most, beside the plan of it."""

from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent.config import LoraConfig
from stepopsd_agent.rollout import Decoder, SamplingParams
from stepopsd_agent.run.planning import Lengths
from stepopsd_agent.run.planning.playing import decoder_parts
from stepopsd_agent.run.planning.shapes import shape_of
from tests.agent.models.test_self_check import random_policy
from tests.helpers.decoding import converse
from tests.helpers.live_bytes import LiveBytes
from tests.helpers.runs import run_config

RESPONSE, STEPS = 8, 4
SHARED_KEYS = {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("slots", "first", "further", "settings"),
    [
        (8, 60, 20, {}),
        (1, 60, 20, {"num_key_value_heads": 2}),
        (8, 600, 200, SHARED_KEYS),  # a mask for each of eight heads
        (4, 900, 500, {"num_key_value_heads": 2}),
        (8, 60, 20, {"vocab_size": 9000}),
    ],
)
def test_plan_of_play_is_above_its_peak(
    slots: int, first: int, further: int, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    """Every tensor that is made, cache and masks and logits; and not more than three times as much."""
    policy = random_policy("LlamaConfig", dtype, max_position_embeddings=4096, **settings)
    assert policy.takes_packs
    rng, live = np.random.default_rng(0), LiveBytes()
    with live:
        decoder = Decoder(policy, slots, SamplingParams(max_tokens=RESPONSE))
        sizes = [first, *[further] * (STEPS - 1)]
        given = [[rng.integers(1, 90, size).tolist() for size in sizes] for _ in range(slots)]
        converse(decoder, given, lambda *_: rng.random(RESPONSE))
    shape = shape_of(policy.model.config, LoraConfig(), dtype)
    lengths = Lengths(first=first, further=further, response=RESPONSE, steps=STEPS, block=0)
    config = run_config(rollout={"max_tokens": RESPONSE, "max_row_tokens": 4096})
    planned = sum(decoder_parts(config, shape, lengths, dtype.itemsize, slots).values())
    planned += 0 if dtype == torch.float32 else 4 * shape.head  # "output layer in float32" of the whole plan
    assert live.peak <= planned <= 3 * live.peak
