"""From hidden states to log-probabilities, a few places at a time: logits of all places are never held.

With gradients the logits of a chunk are made again in the backward pass, so it does not keep them either.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 2**28
"""Size of one chunk's float32 logits."""
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
    found = []
    for start in range(0, max(1, len(hidden)), size):
        part = slice(start, min(start + size, len(hidden)))
        read = partial(_read, head, reader=reader, part=part, temperature=temperature)
        again = torch.is_grad_enabled() and len(hidden) > size
        states = hidden[part]
        found.append(checkpoint(read, states, use_reentrant=False) if again else read(states))
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


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
    logits: Tensor = head(hidden)
    if logits.dtype != torch.float64:
        logits = logits.float()
    return reader(torch.log_softmax(logits / temperature, dim=-1), part)
