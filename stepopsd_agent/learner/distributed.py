"""One update by several processes that hold the same batch: each takes some rows, gradients are summed.

Token weights come from the whole mini-batch on every process, so the sum is what one process would get.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed as dist
from torch.distributed import ProcessGroup


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
