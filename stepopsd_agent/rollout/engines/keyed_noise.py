"""A logits processor of vLLM that draws with the noise a request brings: ``--logits-processors`` names it.

Imported by vLLM alone, in the process of its model.
"""

from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from stepopsd_agent.rollout.engines.drawing import drawn, read_noise
from stepopsd_agent.rollout.sampling import SamplingParams

Row = tuple[np.ndarray, SamplingParams, list[int]]
"""Noise, how to draw, and the tokens drawn so far: a list that vLLM extends."""


class KeyedNoise(LogitsProcessor):
    """Draws the next token of every request that has noise; the others stay as they are."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        """Begin without requests; the arguments are vLLM's."""
        self._rows: dict[int, Row] = {}

    def is_argmax_invariant(self) -> bool:
        """No: the drawn token becomes the likeliest."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests through the batch: removed, added, then moved, as vLLM asks."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows.pop(index, None)
        for index, params, _, output in batch_update.added:
            self._rows.pop(index, None)
            if (noise := read_noise(params.extra_args)) is not None:
                self._rows[index] = (*noise, output)
        for source, target, direction in batch_update.moved:
            moved, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if replaced is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = replaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw in every row that still has noise for its next token: [B, V] float32 logits."""
        ready = {row: held for row, held in self._rows.items() if len(held[2]) < len(held[0])}
        uniforms = [float(noise[len(output)]) for noise, _, output in ready.values()]
        return drawn(logits, list(ready), uniforms, [params for _, params, _ in ready.values()])
