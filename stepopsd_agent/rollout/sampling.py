"""A response: how its tokens are drawn, where it ends, and which of them are its action."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_wrappers.parse_response import ResponseFormat, parse_response


@dataclass(frozen=True)
class SamplingParams:
    """How responses are sampled.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: only the k likeliest tokens; 0 for all.
        top_p: only the likeliest tokens that together reach this probability, after ``top_k``; 1 for all.
        max_tokens: longest response.
        max_row_tokens: an episode whose row would outgrow this (or the model's positions) is truncated.
        stop: strings that end a response, beside the policy's stop tokens.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 16
    max_row_tokens: int = 4096
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"got {self}; allowed: temperature >= 0, top_k >= 0, 0 < top_p <= 1")
        if self.max_tokens < 1 or self.max_row_tokens <= self.max_tokens:
            raise ValueError(f"got {self}; allowed: max_tokens >= 1 and max_row_tokens above max_tokens")
        if "" in self.stop:
            raise ValueError("a stop string is empty; give text to stop at, or leave it out")


def checked_seed(seed: int | str) -> int | str:
    """The seed, if it names sampling noise: any text, or a whole number from 0.

    Raises:
        ValueError: it is anything else, whose text, such as "None", would be taken for a name.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if isinstance(seed, str) or (whole and seed >= 0):
        return seed
    raise ValueError(f"seed is {seed!r:.80}; give a whole number of at least 0, or a text")


def noise(seed: str, task: str, member: int, turn: int, count: int) -> np.ndarray:
    """``count`` uniforms in [0, 1) that depend on nothing but the arguments."""
    digest = hashlib.blake2b(
        f"{seed}|{task}|{member}|{turn}".encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"))).random(count)


def cut(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """[B, V] logits with minus infinity where a token may not be drawn; ties with the last allowed one stay.

    Args:
        logits: [B, V], divided by the temperature.
        top_k: see `SamplingParams`.
        top_p: see `SamplingParams`.
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


def choose(logits: Tensor, uniform: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Pick one token per row by inverting its cumulative distribution.

    Args:
        logits: [B, V].
        uniform: [B] in [0, 1), float64.
        params: temperature and cuts. At temperature 0 the log-probability is that of temperature 1, uncut.

    Returns:
        [B] ids and [B] their log-probabilities in the distribution they were drawn from.

    Raises:
        FloatingPointError: logits are not finite, so that they are no distribution.
    """
    if params.temperature == 0:
        logprobs = torch.log_softmax(logits, dim=-1)
        ids = logprobs.argmax(dim=-1)
    else:
        allowed = cut(logits / params.temperature, params.top_k, params.top_p)
        logprobs = torch.log_softmax(allowed, dim=-1)
        cumulative = logprobs.double().exp().cumsum(dim=-1)
        total = cumulative[:, -1]  # rounding may leave it a little off 1, and must not lead beyond it
        target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        ids = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
        ids = ids.clamp_max(logits.shape[1] - 1)  # beyond the last one where there are no numbers
    drawn = logprobs.gather(1, ids[:, None])[:, 0]
    if not bool(drawn.isfinite().all()):
        raise FloatingPointError(
            "the model's logits are not finite, so no token can be drawn: its weights are damaged, or have "
            "overflowed; go on from an earlier checkpoint with a smaller learner.lr, or set model.dtype to "
            "float32"
        )
    return ids, drawn


class Stops:
    """Tells after each sampled token whether the response is over: at a stop token, or a stop string.

    Ids stay as they were sampled: a token that goes on beyond the stop string belongs to the response whole.
    """

    def __init__(self, policy: Policy, strings: Sequence[str] = ()) -> None:
        """End at the policy's stop tokens and at these strings."""
        self._policy, self._ids, self._strings = policy, policy.stop_ids, tuple(strings)
        # No token shows less than a byte but special ones, which show nothing. One more for a blank that
        # some tokenizers leave out where a text begins.
        self._window = 1 + max((len(s.encode("utf-8", "surrogatepass")) for s in strings), default=0)
        self._ending: dict[int, bool] = {}

    def after(self, ids: Sequence[int]) -> bool:
        """Whether the last one of a response's ids ends it."""
        last = ids[-1]
        if last in self._ids:
            return True
        if not self._strings or not self._may_end(last):
            return False
        shown = self._policy.decode(ids[-self._window :])
        return any(string in shown for string in self._strings)

    def _may_end(self, token: int) -> bool:
        """Whether it shows the last character of a stop string, or a part of one: few tokens do."""
        if token not in self._ending:
            text = self._policy.decode([token])
            self._ending[token] = "\ufffd" in text or any(string[-1] in text for string in self._strings)
        return self._ending[token]


def action_tokens(
    policy: Policy, ids: Sequence[int], text: str, response_format: ResponseFormat
) -> tuple[int, int]:
    """Token range that covers the action's characters; the whole response in the plain format."""
    if response_format == "plain":
        return 0, len(ids)
    span = parse_response(text, response_format).action_span
    if span[0] == span[1]:  # no action in the response
        return 0, 0
    whole = policy.decode(ids)
    begun = partial(_begun_characters, policy, ids, whole)
    # No shorter prefix begins more characters, so a few of them are decoded instead of all.
    start = bisect_right(range(len(ids)), span[0], key=begun)
    stop = min(len(ids), bisect_left(range(len(ids)), span[1], key=begun) + 1)
    # The last character has begun; its other bytes may be tokens of their own.
    while stop < len(ids) and begun(stop) <= span[1] and not whole.startswith(policy.decode(ids[:stop])):
        stop += 1
    return start, max(start, stop)


def _begun_characters(policy: Policy, ids: Sequence[int], text: str, last: int) -> int:
    """How many characters of the text `ids` stand for have begun with the token of number `last`.

    Bytes of a character that other tokens complete are decoded as one replacement character, and by some
    tokenizers as one for every byte, those of complete neighbours included. So they count as one character
    after the last prefix that the whole text begins with.
    """
    prefix = policy.decode(ids[: last + 1])
    if text.startswith(prefix):
        return len(prefix)
    shorter = (policy.decode(ids[:end]) for end in range(last, -1, -1))
    whole = next(decoded for decoded in shorter if text.startswith(decoded))
    pairs = enumerate(zip(text, prefix, strict=False))
    same = next((place for place, (character, other) in pairs if character != other), len(text))
    return max(len(whole), same) + 1
