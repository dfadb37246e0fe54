"""From hidden states to log-probabilities, a few places at a time: logits of all places are never held.

With gradients the logits of a chunk are made again in the backward pass, so it does not keep them either.
Logits are float32 also where the weights are in half precision: rounded to bfloat16 they would be off by
0.02 nats in the mean.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 2**28
"""Size of one chunk's float32 logits."""
HALF = (torch.bfloat16, torch.float16)
"""Types of half precision."""
LogprobReader = Callable[[Tensor, slice], tuple[Tensor, ...]]
"""From the log-probabilities [m, V] of the places `part` to the tensors to keep, each of first size m."""


def read_out(
    head: torch.nn.Module,
    hidden: Tensor,
    reader: LogprobReader,
    *,
    temperature: float = 1.0,
    chunk_bytes: int | None = None,
) -> tuple[Tensor, ...]:
    """Apply ``reader`` to the next-token log-probabilities at every place, chunk by chunk.

    Args:
        head: the output layer, D to V.
        hidden: [M, D] states.
        reader: what to keep.
        temperature: the logits are divided by it, as in sampling.
        chunk_bytes: most that one chunk's logits may take; `CHUNK_BYTES` when absent.

    Returns:
        The reader's tensors, those of all chunks joined.
    """
    size = chunk_places(head, chunk_bytes or CHUNK_BYTES)
    results = []
    for start in range(0, max(1, len(hidden)), size):
        part = slice(start, min(start + size, len(hidden)))
        read = partial(_read, head, reader=reader, part=part, temperature=temperature)
        again = torch.is_grad_enabled() and len(hidden) > size
        states = hidden[part]
        results.append(checkpoint(read, states, use_reentrant=False) if again else read(states))
    return tuple(torch.cat(column) for column in zip(*results, strict=True))


def chunk_places(head: torch.nn.Module, chunk_bytes: int) -> int:
    """Places whose float32 logits fit into ``chunk_bytes``, at least 64."""
    vocabulary: int = head.out_features  # type: ignore[assignment]
    return max(64, chunk_bytes // (4 * vocabulary))


def sampled(ids: Tensor) -> LogprobReader:
    """Reads the log-probabilities of the tokens [M] that stand there."""

    def read(every: Tensor, part: slice) -> tuple[Tensor, ...]:
        return (every.gather(1, ids[part][:, None])[:, 0],)

    return read


def likeliest(count: int) -> LogprobReader:
    """Reads ids and log-probabilities [m, count] of the likeliest tokens; 0 for the whole vocabulary."""

    def read(every: Tensor, part: slice) -> tuple[Tensor, ...]:
        logprobs, ids = every.topk(min(count or every.shape[1], every.shape[1]), dim=1)
        return ids, logprobs

    return read


def _read(
    head: torch.nn.Module, hidden: Tensor, *, reader: LogprobReader, part: slice, temperature: float
) -> tuple[Tensor, ...]:
    return reader(torch.log_softmax(wide_logits(head, hidden) / temperature, dim=-1), part)


def wide_logits(head: torch.nn.Module, hidden: Tensor) -> Tensor:
    """The output layer at states [M, D]: logits [M, V] in float32, in float64 where the weights are."""
    if hidden.dtype not in HALF:
        logits: Tensor = head(hidden)
        return logits
    if type(head) is not torch.nn.Linear:  # an adapter on it, or a module of the model's own
        wide = {name: p.float() for name, p in head.named_parameters()}
        widened: Tensor = torch.func.functional_call(head, wide, (hidden.float(),))
        return widened
    product: Tensor = _WideProduct.apply(hidden, head.weight)  # type: ignore[no-untyped-call]
    bias: Tensor | None = head.bias
    return product if bias is None else product + bias.float()


class _WideProduct(torch.autograd.Function):
    """Half-precision factors, a float32 product; the gradient is in half precision, as that of any layer."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        """[M, D] times [V, D]."""
        ctx.save_for_backward(hidden, weight)
        if hidden.device.type == "cuda":  # accumulates in float32 anyway, and need not round at the end
            return torch.mm(hidden, weight.t(), out_dtype=torch.float32)
        return hidden.float() @ weight.float().t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Of both factors, as far as they are asked for."""
        hidden, weight = ctx.saved_tensors
        rounded = gradients[0].to(weight.dtype)
        of_hidden = rounded @ weight if ctx.needs_input_grad[0] else None
        return of_hidden, rounded.t() @ hidden if ctx.needs_input_grad[1] else None
