"""Speed of a device, measured briefly: a large matrix product, and reading its memory."""

import time
from collections.abc import Callable

import torch

from stepopsd_agent.run.planning.plan import Rates

_SIZES = {"cpu": (768, 2**22), "cuda": (8192, 2**28)}
"""Rows of a square matrix, and numbers to copy."""
_SECONDS = {"cpu": 0.1, "cuda": 0.3}
"""How long each is measured."""


def measured_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure both, each for `_SECONDS`."""
    rows, numbers = _SIZES[device.type]
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(rows, rows, generator=generator, device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(numbers, device=device, dtype=dtype)
    target = torch.empty_like(source)
    products = _per_second(lambda: torch.mm(left, right), device)
    copies = _per_second(lambda: target.copy_(source), device)
    return Rates(flops=products * 2 * rows**3, bytes=copies * 2 * source.nbytes)


def _per_second(work: Callable[[], object], device: torch.device) -> float:
    """How often work is done in a second, in the best of several rounds."""
    best = 0.0
    end = time.perf_counter() + _SECONDS[device.type]
    while time.perf_counter() < end or not best:
        began = time.perf_counter()
        for _ in range(4):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 4 / (time.perf_counter() - began))
    return best
