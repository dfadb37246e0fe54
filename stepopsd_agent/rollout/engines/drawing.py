"""The noise of a response on its way to an engine, and the draw inside it.

The engine is told to take the likeliest token, and the drawn one is made the likeliest: every other logit
becomes minus infinity, its own the log-probability with which it was drawn. An engine that returns processed
logits so returns what the built-in decoder returns, in the distribution drawn from, whatever the temperature
and the cuts.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepopsd_agent.rollout.engines.base import Draw
from stepopsd_agent.rollout.sampling import SamplingParams, choose

NOISE = "stepopsd_noise"
"""Field of a request with the uniforms: little-endian float64 in base64, so that HTTP keeps every bit."""
PREFIX = "stepopsd_"
FIELDS = ("temperature", "top_k", "top_p")


def noise_fields(draw: Draw) -> dict[str, str | int | float]:
    """The fields of a request that say how its tokens are drawn: text and numbers alone."""
    how = {PREFIX + name: getattr(draw.params, name) for name in FIELDS}
    return {NOISE: base64.b64encode(draw.uniforms.astype("<f8").tobytes()).decode(), **how}


def read_noise(fields: Mapping[str, Any] | None) -> tuple[np.ndarray, SamplingParams] | None:
    """The inverse of `noise_fields`: [n] uniforms, and how to draw; None for a request without noise."""
    if not fields or NOISE not in fields:
        return None
    uniforms = np.frombuffer(base64.b64decode(fields[NOISE]), dtype="<f8")
    temperature, top_k, top_p = (fields[PREFIX + name] for name in FIELDS)
    # The largest numbers of tokens are the engine's business; these only have to fit together.
    return uniforms, SamplingParams(float(temperature), int(top_k), float(top_p), max_tokens=1)


def drawn(
    logits: Tensor, rows: Sequence[int], uniforms: Sequence[float], params: Sequence[SamplingParams]
) -> Tensor:
    """Draw a token in some rows and make it the only one that is possible there.

    Args:
        logits: [B, V], changed in place.
        rows: those to draw in.
        uniforms: noise of each of them.
        params: temperature and cuts of each of them.

    Returns:
        The logits [B, V]: in these rows the drawn token's is its log-probability in nats, at most 0, the
        others minus infinity.

    Raises:
        FloatingPointError: logits are not finite.
    """
    for way in dict.fromkeys(params):
        some = [place for place, own in enumerate(params) if own == way]
        index = torch.tensor([rows[place] for place in some], device=logits.device)
        noise = torch.tensor([uniforms[place] for place in some], dtype=torch.float64, device=logits.device)
        ids, logprobs = choose(logits[index], noise, way)
        only = torch.full((len(some), logits.shape[1]), -torch.inf, dtype=logits.dtype, device=logits.device)
        logits[index] = only.scatter(1, ids[:, None], logprobs.clamp(max=0.0)[:, None].to(logits.dtype))
    return logits
