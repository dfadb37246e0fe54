"""One update by several processes that hold the same batch: each takes some rows, gradients are summed.

Token weights come from the whole mini-batch on every process, so the sum is what one process would get. If
their batches differed, it would be a wrong gradient without an error, so they are compared before an update.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType

import torch
from torch import Tensor, distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit

TOLERANCE = 1e-2
"""Differences that rounding on different devices may make in log-probabilities and advantages."""
MEAN_TOLERANCE = 0.1
"""The same, in the mean over tokens, of log-probabilities that every process scores: in passes of its own."""


class UnequalBatchesError(RuntimeError):
    """The processes of a group were given different work; no weight was changed."""


def check_same(
    batch: Batch, credit: Credit, settings: object, weights: Sequence[Tensor], group: ProcessGroup
) -> None:
    """Compare with the other processes: tokens, layout and settings exactly, numbers up to rounding.

    Numbers are all that the update reads: log-probabilities, credit, what further losses compare with (a
    teacher of other weights would go unseen elsewhere), and the weights, trained or not.

    Raises:
        UnequalBatchesError: on every process, if two of them differ.
    """
    terms = [(term.name, _spelled(term.function), len(term.inputs)) for term in credit.terms]
    columns = [batch.tokens.old_logprobs, credit.advantages, *(term.weights for term in credit.terms)]
    _compare(batch, (settings, terms), columns, weights, group, scored=_scored(batch, credit))


def check_same_targets(
    batch: Batch, targets: Tensor, settings: object, weights: Sequence[Tensor], group: ProcessGroup
) -> None:
    """The same for the critic's update, which reads tokens, the steps' targets [S] and its weights.

    Raises:
        UnequalBatchesError: on every process, if two of them differ.
    """
    _compare(batch, settings, [targets], weights, group)


def _compare(
    batch: Batch,
    settings: object,
    columns: Sequence[Tensor],
    weights: Sequence[Tensor],
    group: ProcessGroup,
    *,
    scored: Sequence[Tensor] = (),
) -> None:
    """Compare columns at every place, scored ones in the mean, and the weights by their sums."""
    tokens, device = batch.tokens, batch.tokens.input_ids.device
    digest = hashlib.blake2b(repr((settings, [tuple(weight.shape) for weight in weights])).encode())
    for column in (tokens.input_ids, tokens.step_of_token, tokens.position_ids, batch.steps.episode_of_step):
        digest.update(repr(tuple(column.shape)).encode() + column.cpu().numpy().tobytes())
    number = int.from_bytes(digest.digest()[:6])  # 48 bits, which float64 holds exactly
    if _spread(torch.tensor([number], dtype=torch.float64, device=device), group):
        raise UnequalBatchesError(
            "the processes of the group have different batches, settings or models: give all of them the "
            "same episodes in the same order, the same credit and the same arguments; the learner shares the "
            "rows"
        )
    held = [weight for weight in weights if not isinstance(weight, DTensor)]  # others are parts of one
    sums = [torch.stack([weight.detach().sum(dtype=torch.float64) for weight in held])] if held else []
    if any([_spread(column, group) > TOLERANCE for column in [*columns, *sums]]) or any(
        [_spread(column, group, mean=True) > MEAN_TOLERANCE for column in scored]
    ):
        raise UnequalBatchesError(
            "the processes of the group have the same tokens but different log-probabilities, credit, "
            "teachers, references or weights: begin with the same model, and compute credit from the same "
            "columns"
        )


def _scored(batch: Batch, credit: Credit) -> list[Tensor]:
    """The columns that every process has scored by itself and the loss reads, at the action tokens."""
    mask, reference, likely = batch.action_mask, batch.tokens.ref_logprobs, batch.teacher_topk
    columns = [] if reference is None else [reference[mask]]
    columns += [] if likely is None else [likely.logprobs[:, 0]]
    return columns + [column[mask] for term in credit.terms for column in term.inputs]


def _spelled(function: Callable[..., Tensor]) -> str:
    """The name of a loss, with the settings that read alike in every process."""
    if isinstance(function, partial):
        settings = {k: v for k, v in function.keywords.items() if isinstance(v, int | float | str)}
        return f"{_spelled(function.func)} {sorted(settings.items())}"
    return function.__qualname__ if isinstance(function, FunctionType) else type(function).__qualname__


def _spread(values: Tensor, group: ProcessGroup, *, mean: bool = False) -> float:
    """The largest difference between two processes at any place, or the mean over the places."""
    ends = torch.stack([values.detach().double(), -values.detach().double()])
    dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=group)
    differences = ends.sum(0).abs()
    return float(differences.mean() if mean else differences.max())


def own_share(rows: Tensor, group: ProcessGroup) -> Tensor:
    """The rows that this process works on."""
    return rows[dist.get_rank(group) :: dist.get_world_size(group)]


def sum_gradients(parameters: Sequence[torch.nn.Parameter], group: ProcessGroup) -> None:
    """Replace every gradient by its sum over the group; a process without rows adds nothing.

    That of a weight that is shared out was summed in the backward pass.
    """
    for parameter in parameters:
        if isinstance(parameter, DTensor):
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad, group=group)


def sum_values(values: dict[str, float], group: ProcessGroup, device: torch.device) -> dict[str, float]:
    """Sums over the group; every process gives the same names in the same order."""
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(total, group=group)
    return dict(zip(values, total.tolist(), strict=True))
