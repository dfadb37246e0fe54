"""The draw inside an engine is the built-in one, and its noise survives the journey."""

import numpy as np
import pytest
import torch

from stepopsd_agent.rollout import SamplingParams
from stepopsd_agent.rollout.engines import Draw, drawn, noise_fields, read_noise
from stepopsd_agent.rollout.sampling import choose
from tests.helpers.engines import drawn_as_an_engine

WAYS = [
    SamplingParams(),
    SamplingParams(temperature=0.0),
    SamplingParams(temperature=0.6, top_k=5),
    SamplingParams(temperature=1.7, top_p=0.8),
]


def some_logits(rows: int, seed: int = 0) -> torch.Tensor:
    """[rows, 50] of a few likely tokens and many unlikely ones."""
    return 3 * torch.randn(rows, 50, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("params", WAYS)
def test_an_engine_draws_as_the_built_in_decoder(params: SamplingParams) -> None:
    """Token for token; the log-probability is that of the distribution drawn from, to the last bit."""
    logits, uniforms = some_logits(200), np.random.default_rng(0).random(200)
    ids, logprobs = choose(logits, torch.from_numpy(uniforms), params)
    assert drawn_as_an_engine(logits, uniforms, [params] * 200) == (ids.tolist(), logprobs.tolist())


def test_requests_of_several_kinds_share_a_batch() -> None:
    """Each row is drawn in its own way; one without noise keeps its logits."""
    logits, uniforms = some_logits(5), np.random.default_rng(1).random(4)
    alone = [
        drawn_as_an_engine(logits[k : k + 1], uniforms[k : k + 1], [way])[0][0] for k, way in enumerate(WAYS)
    ]
    made = drawn(logits.clone(), range(4), uniforms.tolist(), WAYS)
    assert made[:4].argmax(dim=1).tolist() == alone and torch.equal(made[4], logits[4])
    assert bool((made[:4].isfinite().sum(dim=1) == 1).all())


def test_an_engine_refuses_logits_that_are_no_distribution() -> None:
    """As the built-in decoder does: a token would be drawn from nothing."""
    logits = some_logits(1)
    logits[0, 3] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        drawn(logits, [0], [0.5], [SamplingParams()])


def test_noise_keeps_every_bit() -> None:
    """Text and numbers alone, which JSON carries; other requests have none."""
    uniforms = np.random.default_rng(2).random(7)
    fields = noise_fields(Draw(uniforms, SamplingParams(temperature=0.7, top_k=3, top_p=0.9), ()))
    assert all(isinstance(value, str | int | float) for value in fields.values())
    read = read_noise(fields)
    assert read is not None and read[0].tobytes() == uniforms.tobytes()
    assert (read[1].temperature, read[1].top_k, read[1].top_p) == (0.7, 3, 0.9)
    assert read_noise(None) is None and read_noise({"other": 1}) is None
