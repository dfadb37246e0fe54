"""Checks that a method's credit fits the batch it was made from, before an update uses it.

They refuse, among others, advantages at tokens that were not sampled, and steps without an advantage in an
episode that has some, unless the method allows them. All faults are reported at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import AuditError, Batch, kind_masks, name_some
from stepopsd_agent.credit.base import Credit


@dataclass(frozen=True, slots=True)
class CreditReport:
    """How credit that passed the checks is spread over steps and kinds of tokens."""

    steps_with_credit: int
    silent_steps: tuple[int, ...]
    """Steps without credit in episodes that have some."""
    last_step_only: float
    """Share of the episodes with credit and several steps that have all of it on the last one. Near 1 either
    the credit of earlier steps was lost, or the method sees the end alone."""
    kind_shares: Mapping[str, float]
    """Share of |A| on each kind of token (`batch.kind_masks`); empty where there is no credit."""
    token_shares: Mapping[str, float]
    """Share of the sampled tokens of each kind: the share of |A| if credit were spread evenly."""
    step_shares: tuple[float, ...]
    """[S] each step's share of its episode's sum of |A|; 0 in an episode without credit."""
    step_entropy: float
    """Entropy of the step shares over that of an even spread: 1 if even, 0 if all on one step. A mean over
    episodes with credit and several steps; 1 if there are none."""
    groups_learned: float
    """Share of the groups that the update learns from: some token has an advantage or a further loss."""

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics to log."""
        return {
            "step_entropy": self.step_entropy,
            "last_step_only": self.last_step_only,
            "groups_learned": self.groups_learned,
            **{f"share_{kind}": share for kind, share in self.kind_shares.items()},
            **{f"token_share_{kind}": share for kind, share in self.token_shares.items()},
        }


def check_credit(batch: Batch, credit: Credit) -> None:
    """Check what an update relies on, whoever made the credit: shapes, types, finite values, zeros.

    Raises:
        AuditError: with every fault found.
        TypeError: it is no `Credit`.
    """
    if problems := _problems(batch, credit):
        raise AuditError(tuple(problems))


def audit_credit(batch: Batch, credit: Credit) -> CreditReport:
    """Check credit against the batch it was made from; the batch itself has passed `audit`.

    Raises:
        AuditError: with every fault found.
        TypeError: it is no `Credit`.
    """
    mask, problems = batch.action_mask, _problems(batch, credit)
    if not _is_tensor(credit.advantages) or credit.advantages.shape != mask.shape:
        raise AuditError(tuple(problems))
    acted = mask & (credit.advantages != 0)
    loud = torch.zeros(batch.num_steps, dtype=torch.bool, device=mask.device)
    loud[batch.tokens.step_of_token[acted]] = True
    episode = batch.steps.episode_of_step
    some = torch.zeros(batch.num_episodes, dtype=torch.bool, device=mask.device)
    some[episode[loud]] = True
    silent = (~loud & some[episode]).nonzero().flatten()
    if len(silent) and not credit.may_zero_steps:
        problems.append(f"{name_some('step', silent)} without any advantage in an episode that has some")
    if problems:
        raise AuditError(tuple(problems))
    size, kinds = credit.advantages.abs().double(), kind_masks(batch)
    whole, shares = float(size.sum()), _step_shares(batch, size)
    return CreditReport(
        steps_with_credit=int(loud.sum()),
        silent_steps=tuple(silent.tolist()),
        last_step_only=_last_step_only(batch, loud),
        kind_shares={kind: float(size[on].sum()) / whole for kind, on in kinds.items()} if whole else {},
        token_shares={kind: float(on.sum() / mask.sum()) for kind, on in kinds.items()},
        step_shares=tuple(shares.tolist()),
        step_entropy=_step_entropy(batch, shares),
        groups_learned=_groups_learned(batch, credit),
    )


def _problems(batch: Batch, credit: Credit) -> list[str]:
    """Faults of the advantages and of the weights of further losses, each column by itself."""
    if not isinstance(got := cast("object", credit), Credit):  # whoever wrote the method may return anything
        kind = type(got).__name__
        raise TypeError(f"the credit method returned a {kind}; return a Credit, such as Credit(advantages)")
    columns = {
        "advantages": credit.advantages,
        **{f"weights of {term.name}": term.weights for term in credit.terms},
    }
    mask = batch.action_mask
    return [problem for name, column in columns.items() for problem in _column_problems(name, column, mask)]


def _is_tensor(column: object) -> bool:
    return isinstance(column, Tensor)


def _last_step_only(batch: Batch, loud: Tensor) -> float:
    """Share of episodes with credit and several steps whose last step alone is loud [S]; 0 without any."""
    episode, episodes, last = batch.steps.episode_of_step, batch.num_episodes, batch.last_step
    earlier, at_end = (ops.group_count(episode[loud & where], episodes) > 0 for where in (~last, last))
    counted = (earlier | at_end) & (ops.group_count(episode, episodes) > 1)
    return float((counted & ~earlier).sum()) / max(1, int(counted.sum()))


def _groups_learned(batch: Batch, credit: Credit) -> float:
    """Share of groups with an advantage or a further loss; rows of the others need no pass of the model."""
    pulled = batch.action_mask & (credit.advantages != 0)
    for term in credit.terms:
        pulled = pulled | (term.weights != 0)
    groups = int(batch.episodes.group_of_episode.max()) + 1
    return len(torch.unique(batch.group_of_step[batch.tokens.step_of_token[pulled]])) / groups


def _step_shares(batch: Batch, size: Tensor) -> Tensor:
    """[S] the steps' shares of their episode's sum of `size` [N, T]; 0 where that is 0."""
    step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
    of_step = size.new_zeros(batch.num_steps).index_add(0, step[step >= 0], size[step >= 0])
    total = size.new_zeros(batch.num_episodes).index_add(0, episode, of_step)
    return of_step / torch.where(total > 0, total, 1)[episode]


def _step_entropy(batch: Batch, shares: Tensor) -> float:
    """Mean entropy of the steps' shares [S], in units of the entropy of an even spread."""
    episode, episodes = batch.steps.episode_of_step, batch.num_episodes
    entropy = shares.new_zeros(episodes).index_add(0, episode, torch.special.entr(shares))
    count = ops.group_count(episode, episodes)
    credited = shares.new_zeros(episodes).index_add(0, episode, shares) > 0
    counted = credited & (count > 1)
    if not counted.any():
        return 1.0
    return float((entropy[counted] / count[counted].log()).mean())


def _column_problems(name: str, column: Tensor, mask: Tensor) -> Iterator[str]:
    """Faults of a column: not shaped like the mask, not 0 outside it, not finite, or with a gradient."""
    if not _is_tensor(column):
        yield f"{name} is of type {type(column).__name__}; give a tensor"
        return
    if column.shape != mask.shape:
        shapes = f"shape {tuple(column.shape)}, the batch {tuple(mask.shape)}"
        yield f"{name} has {shapes}; give the credit of this batch"
        return
    if not column.is_floating_point():
        yield f"{name} is {column.dtype}, must be a floating type"
    if column.requires_grad:
        yield f"{name} carries a gradient: detach what it is made from"
    if not column.isfinite().all():
        yield f"{name} has {int((~column.isfinite()).sum())} values that are not finite; give numbers"
    outside = (~mask & (column != 0)).sum()
    if outside:
        yield f"{name} is not 0 at {int(outside)} tokens that the policy did not sample; use action_mask"
