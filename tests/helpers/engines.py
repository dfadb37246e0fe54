"""An engine for tests: the policy's own network, with responses that end in another order than they began."""

from collections.abc import Sequence

import numpy as np
import torch

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Decoder, Sampled, SamplingParams
from stepopsd_agent.rollout.engines import Draw, drawn, noise_fields, read_noise


class SlowEngine:
    """Draws with a copy of the weights, which it has from `load`; the newest of its requests ends first.

    Attributes:
        piece: most tokens it draws for one request; the rest has to be asked for anew.
        ends: whether it heeds the strings that end a response.
        loads: how often it was given weights.
        lengths: tokens that each request began with.
    """

    def __init__(self, worker: Policy, *, piece: int = 10**6, ends: bool = True) -> None:
        """Draw with this network."""
        self.worker, self.piece, self.ends = worker, piece, ends
        self.loads, self.lengths = 0, list[int]()
        self.running: dict[int, tuple[list[int], Draw]] = {}

    def load(self, policy: Policy) -> None:
        """Take the weights."""
        assert not self.running
        self.worker.load_state(policy.state())
        self.loads += 1

    def ask(self, number: int, ids: Sequence[int], draw: Draw) -> None:
        """Keep the request for later."""
        assert number not in self.running
        self.running[number] = list(ids), draw
        self.lengths.append(len(ids))

    def finished(self) -> dict[int, Sampled]:
        """Draw the newest request."""
        number = max(self.running)
        ids, draw = self.running.pop(number)
        read = read_noise(noise_fields(draw))
        assert read is not None
        if not self.piece:
            return {number: Sampled((), ())}
        uniforms, params = read
        how = SamplingParams(
            params.temperature, params.top_k, params.top_p, max_tokens=min(self.piece, len(uniforms)),
            max_row_tokens=10**6, stop=draw.params.stop if self.ends else (),
        )  # fmt: skip
        (sampled,) = Decoder(self.worker, 1, how).respond([ids], uniforms[None].copy())
        assert sampled is not None  # a row alone waits for no other
        return {number: sampled}

    def rest(self) -> None:
        """Forget what is left."""
        self.running.clear()

    def close(self) -> None:
        """Nothing is open."""


def drawn_as_an_engine(
    logits: torch.Tensor, uniforms: np.ndarray, params: Sequence[SamplingParams]
) -> tuple[list[int], list[float]]:
    """Ids and log-probabilities, as an engine reads them off: the likeliest token, and its logit."""
    made = drawn(logits.clone(), range(len(logits)), uniforms.tolist(), params)
    ids = made.argmax(dim=1)
    return ids.tolist(), made.gather(1, ids[:, None])[:, 0].tolist()
