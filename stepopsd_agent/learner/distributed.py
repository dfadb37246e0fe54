"""One update by several processes that hold the same batch: each takes some rows, gradients are summed.

Token weights come from the whole mini-batch on every process, so the sum is what one process would get. If
their batches differed, it would be a wrong gradient without an error, so they are compared before an update.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, distributed as dist
from torch.distributed import ProcessGroup

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit

TOLERANCE = 1e-2
"""Differences that rounding on different devices may make in log-probabilities and advantages."""


class UnequalBatchesError(RuntimeError):
    """The processes of a group were given different work; no weight was changed."""


def check_same(
    batch: Batch, credit: Credit, settings: object, weights: Sequence[Tensor], group: ProcessGroup
) -> None:
    """Compare with the other processes: tokens, layout and settings exactly, numbers up to rounding.

    Raises:
        UnequalBatchesError: on every process, if two of them differ.
    """
    tokens, device = batch.tokens, batch.tokens.input_ids.device
    digest = hashlib.blake2b(repr((settings, [term.name for term in credit.terms])).encode())
    for column in (tokens.input_ids, tokens.step_of_token, batch.steps.episode_of_step):
        digest.update(repr(tuple(column.shape)).encode() + column.cpu().numpy().tobytes())
    number = int.from_bytes(digest.digest()[:6])  # 48 bits, which float64 holds exactly
    if _spread(torch.tensor([number], dtype=torch.float64, device=device), group):
        raise UnequalBatchesError(
            "the processes of the group have different batches or settings: give all of them the same "
            "episodes in the same order, the same credit and the same arguments; the learner shares the rows"
        )
    columns = [tokens.old_logprobs, credit.advantages, *(term.weights for term in credit.terms)]
    sums = torch.stack([weight.detach().sum(dtype=torch.float64) for weight in weights])
    if any(_spread(column, group) > TOLERANCE for column in [*columns, sums]):
        raise UnequalBatchesError(
            "the processes of the group have the same tokens but different log-probabilities, credit or "
            "weights: begin with the same model, and compute credit from the same columns"
        )


def _spread(values: Tensor, group: ProcessGroup) -> float:
    """The largest difference between two processes at any place."""
    ends = torch.stack([values.detach().double(), -values.detach().double()])
    dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=group)
    return float(ends.sum(0).abs().max())


def own_share(rows: Tensor, group: ProcessGroup) -> Tensor:
    """The rows that this process works on."""
    return rows[dist.get_rank(group) :: dist.get_world_size(group)]


def sum_gradients(parameters: Sequence[torch.nn.Parameter], group: ProcessGroup) -> None:
    """Replace every gradient by its sum over the group; a process without rows adds nothing."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad, group=group)


def sum_values(values: dict[str, float], group: ProcessGroup, device: torch.device) -> dict[str, float]:
    """Sums over the group; every process gives the same names in the same order."""
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(total, group=group)
    return dict(zip(values, total.tolist(), strict=True))
