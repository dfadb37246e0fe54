"""Drawing tokens: noise that belongs to an attempt, tokens that may be drawn, and the one the noise picks."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Drawing:
    """The distribution that tokens are drawn from.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: only the k likeliest tokens; 0 for all.
        top_p: only the likeliest tokens that together reach this probability, after ``top_k``; 1 for all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"got {self}; allowed: temperature >= 0, top_k >= 0, 0 < top_p <= 1")

    @property
    def cuts(self) -> bool:
        """Whether some tokens cannot be drawn."""
        return self.top_k > 0 or self.top_p < 1


def noise(seed: str, task: str, member: int, turn: int, count: int) -> np.ndarray:
    """``count`` uniforms in [0, 1) that depend on nothing but the arguments."""
    digest = hashlib.blake2b(
        f"{seed}|{task}|{member}|{turn}".encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"))).random(count)


def cut(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """[B, V] logits with minus infinity where a token may not be drawn; equals of the last one stay.

    Args:
        logits: [B, V], of the temperature asked for.
        top_k: see `Drawing`.
        top_p: see `Drawing`.
    """
    if 0 < top_k < logits.shape[1]:
        logits = _at_least(logits, logits.topk(top_k, dim=-1).values[:, -1:])
    if top_p < 1:
        ordered = logits.sort(dim=-1, descending=True).values
        shares = torch.softmax(ordered.double(), dim=-1)
        above = shares.cumsum(dim=-1) - shares  # what the likelier tokens have together
        kept = (above < top_p).sum(dim=-1, keepdim=True).clamp_min(1)
        logits = _at_least(logits, ordered.gather(1, kept - 1))
    return logits


def _at_least(logits: Tensor, least: Tensor) -> Tensor:
    return logits.masked_fill(logits < least, -torch.inf)


def choose(logits: Tensor, uniform: Tensor, drawing: Drawing) -> tuple[Tensor, Tensor]:
    """Pick one token per row by inverting its cumulative distribution.

    Args:
        logits: [B, V].
        uniform: [B] in [0, 1), float64.
        drawing: temperature and cuts. At temperature 0 the log-probability is that of temperature 1, uncut.

    Returns:
        [B] ids and [B] their log-probabilities in the distribution they were drawn from.
    """
    if drawing.temperature == 0:
        logprobs = torch.log_softmax(logits, dim=-1)
        ids = logprobs.argmax(dim=-1)
    else:
        allowed = cut(logits / drawing.temperature, drawing.top_k, drawing.top_p)
        logprobs = torch.log_softmax(allowed, dim=-1)
        cumulative = logprobs.double().exp().cumsum(dim=-1)
        total = cumulative[:, -1]  # rounding may leave it a little off 1, and must not lead beyond it
        target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        ids = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return ids, logprobs.gather(1, ids[:, None])[:, 0]
