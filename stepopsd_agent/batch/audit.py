"""Checks that a batch and its credit mean what they say, before anything is learned from them.

`audit` looks at the tables, `audit_credit` at what a credit method made of them. Both report every fault at
once. They catch, among others: a mask longer than the ids, an inverted mask, another tensor passed as the
mask, and advantages that are zero on all but an episode's last step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch.batch import KINDS, Batch
from stepopsd_agent.batch.spans import kind_masks
from stepopsd_agent.credit.base import Credit

LOGPROB_TOLERANCE = 1e-4
"""A log-probability may exceed 0 by this much: rounding of a token that is nearly certain."""


class AuditError(ValueError):
    """A batch or its credit is wrong; `problems` names every fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("the audit found:\n" + "\n".join(f"- {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Sizes of a batch without faults."""

    rows: int
    steps: int
    episodes: int
    group_sizes: tuple[int, ...]
    """Episodes in each group."""
    tokens: int
    """Not counting padding."""
    action_tokens: int
    """Sampled by the policy."""


@dataclass(frozen=True, slots=True)
class CreditReport:
    """How credit without faults is spread over steps."""

    steps_with_credit: int
    silent_steps: tuple[int, ...]
    """Steps without credit in episodes that have some."""
    last_step_only: float
    """Share of the episodes with credit and several steps that have all of it on the last one: near 1 it is
    the published bug, or a method that sees nothing but the end."""
    kind_shares: Mapping[str, float]
    """Share of |A| on each kind of token (`segment.kind_masks`); empty where there is no credit."""
    token_shares: Mapping[str, float]
    """Share of the sampled tokens of each kind: what an even spread of credit would give them."""
    step_shares: tuple[float, ...]
    """Of every step its share of its episode's |A|; 0 in an episode without credit."""
    step_entropy: float
    """How evenly |A| is spread over an episode's steps: 1 evenly, 0 all on one; a mean over episodes with
    credit and several steps, 1 where there is none."""

    @property
    def metrics(self) -> dict[str, float]:
        """What to log of it."""
        return {
            "step_entropy": self.step_entropy,
            "last_step_only": self.last_step_only,
            **{f"share_{kind}": share for kind, share in self.kind_shares.items()},
            **{f"token_share_{kind}": share for kind, share in self.token_shares.items()},
        }


def audit(batch: Batch) -> AuditReport:
    """Check the three tables against each other.

    Raises:
        AuditError: with every fault found; faults in the links between tables come alone.
    """
    problems = tuple(_link_problems(batch))
    problems = problems or (*_token_problems(batch), *_span_problems(batch), *_logprob_problems(batch))
    if problems:
        raise AuditError(problems)
    return AuditReport(
        rows=batch.num_rows,
        steps=batch.num_steps,
        episodes=batch.num_episodes,
        group_sizes=tuple(torch.bincount(batch.episodes.group_of_episode).tolist()),
        tokens=int(batch.tokens.attention_mask.sum()),
        action_tokens=int(batch.action_mask.sum()),
    )


def audit_credit(batch: Batch, credit: Credit) -> CreditReport:
    """Check credit against the batch it was made from; the batch itself has passed `audit`.

    Raises:
        AuditError: with every fault found.
    """
    shape, mask = batch.action_mask.shape, batch.action_mask
    columns = {"advantages": credit.advantages}
    for term in credit.terms:
        columns[f"weights of {term.name}"] = term.weights
    problems = [
        problem for name, column in columns.items() for problem in _column_problems(name, column, mask)
    ]
    if credit.advantages.shape != shape:
        raise AuditError(tuple(problems))
    acted = mask & (credit.advantages != 0)
    loud = torch.zeros(batch.num_steps, dtype=torch.bool, device=mask.device)
    loud[batch.tokens.step_of_token[acted]] = True
    episode = batch.steps.episode_of_step
    some = torch.zeros(batch.num_episodes, dtype=torch.bool, device=mask.device)
    some[episode[loud]] = True
    silent = (~loud & some[episode]).nonzero().flatten()
    if len(silent) and not credit.may_zero_steps:
        problems.append(f"{_some('step', silent)} without any advantage in an episode that has some")
    if problems:
        raise AuditError(tuple(problems))
    size, kinds = credit.advantages.abs().double(), kind_masks(batch)
    whole, shares = float(size.sum()), _step_shares(batch, size)
    return CreditReport(
        steps_with_credit=int(loud.sum()),
        silent_steps=tuple(silent.tolist()),
        last_step_only=_last_step_only(episode, loud, batch.num_episodes),
        kind_shares={kind: float(size[on].sum()) / whole for kind, on in kinds.items()} if whole else {},
        token_shares={kind: float(on.sum() / mask.sum()) for kind, on in kinds.items()},
        step_shares=tuple(shares.tolist()),
        step_entropy=_step_entropy(batch, shares),
    )


def _last_step_only(episode: Tensor, loud: Tensor, episodes: int) -> float:
    """Share of episodes with credit and several steps whose last step alone is loud [S]; 0 without any."""
    last = torch.cat([episode[1:] != episode[:-1], torch.ones_like(episode[:1], dtype=torch.bool)])
    earlier, at_end = (ops.group_count(episode[loud & where], episodes) > 0 for where in (~last, last))
    counted = (earlier | at_end) & (ops.group_count(episode, episodes) > 1)
    return float((counted & ~earlier).sum()) / max(1, int(counted.sum()))


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


def _link_problems(batch: Batch) -> Iterator[str]:
    """Ids that point outside the table they name, rows nothing points to, tables out of order."""
    step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
    group, index = batch.episodes.group_of_episode, batch.steps.index_in_episode
    for name, ids, low, size in (
        ("tokens.step_of_token", step, -1, batch.num_steps),
        ("steps.episode_of_step", episode, 0, batch.num_episodes),
        ("steps.kind", batch.steps.kind, 0, len(KINDS)),
        ("episodes.group_of_episode", group, 0, batch.num_episodes),
    ):
        if ((ids < low) | (ids >= size)).any():
            yield f"{name} must lie in {low}..{size - 1}, got {int(ids.min())}..{int(ids.max())}"
            return
    for name, ids, size in (
        ("step without a token", step[step >= 0], batch.num_steps),
        ("episode without a step", episode, batch.num_episodes),
        ("group without an episode", group, int(group.max()) + 1),
    ):
        missing = (torch.bincount(ids, minlength=size) == 0).nonzero().flatten()
        if len(missing):
            yield _some(name, missing)
    later = (episode[1:] > episode[:-1]) | ((episode[1:] == episode[:-1]) & (index[1:] > index[:-1]))
    if not later.all():
        yield f"steps are not sorted by (episode, index): {_some('step', (~later).nonzero().flatten() + 1)}"


def _token_problems(batch: Batch) -> Iterator[str]:
    """Sampled tokens where none can be, positions that do not count tokens, returns that are no numbers."""
    tokens, real = batch.tokens, batch.tokens.attention_mask
    beyond = (batch.action_mask & ~real).any(1).nonzero().flatten()
    if len(beyond):
        yield f"the action mask is longer than the ids (it selects padding) in {_some('row', beyond)}"
    first = real & (real.cumsum(1) == 1)
    unprompted = (batch.action_mask & first).any(1).nonzero().flatten()
    if len(unprompted):
        yield f"{_some('row', unprompted)} begins with a sampled token, predicted by nothing: mask inverted?"
    misplaced = (real & (tokens.position_ids != real.cumsum(1) - 1)).any(1).nonzero().flatten()
    if len(misplaced):
        yield f"position_ids do not count the tokens in {_some('row', misplaced)}"
    for name, values in (
        ("steps.reward", batch.steps.reward),
        ("episode_return", batch.episodes.episode_return),
    ):
        if not values.isfinite().all():
            yield f"{name} is not finite at {(~values.isfinite()).nonzero().flatten().tolist()[:5]}"


def _span_problems(batch: Batch) -> Iterator[str]:
    """Steps that are not one run of tokens, or rows whose steps go backwards or mix episodes."""
    step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
    before = torch.cat([torch.full_like(step[:, :1], -1), step[:, :-1]], dim=1)
    starts = (step >= 0) & (step != before)
    row, first = starts.nonzero()[:, 0], step[starts]
    broken = (torch.bincount(first, minlength=batch.num_steps) > 1).nonzero().flatten()
    if len(broken):
        yield f"{_some('step', broken)} is not one run of neighbouring tokens"
    same_row = row[1:] == row[:-1]
    backwards = same_row & (first[1:] < first[:-1])
    if backwards.any():
        yield f"steps go backwards in {_some('row', torch.unique(row[1:][backwards]))}"
    mixed = same_row & (episode[first[1:]] != episode[first[:-1]])
    if mixed.any():
        yield f"steps of different episodes share {_some('row', torch.unique(row[1:][mixed]))}"


def _logprob_problems(batch: Batch) -> Iterator[str]:
    """Log-probabilities of sampled tokens that are none, and recorded ones where nothing was sampled."""
    tokens, mask = batch.tokens, batch.action_mask
    for name, column in (
        ("old_logprobs", tokens.old_logprobs),
        ("student_logprobs", tokens.student_logprobs),
        ("teacher_logprobs", tokens.teacher_logprobs),
        ("ref_logprobs", tokens.ref_logprobs),
    ):
        if column is None:
            continue
        wrong = mask & ~(column.isfinite() & (column <= LOGPROB_TOLERANCE))
        if wrong.any():
            yield f"{name} has {int(wrong.sum())} sampled tokens that are not finite or above 0"
    stray = (~mask & (tokens.old_logprobs != 0)).any(1).nonzero().flatten()
    if len(stray):
        yield f"old_logprobs is not 0 where nothing was sampled in {_some('row', stray)}: shifted mask?"


def _column_problems(name: str, column: Tensor, mask: Tensor) -> Iterator[str]:
    """A column of credit with another shape than the mask, outside it, or not made of constant numbers."""
    if column.shape != mask.shape:
        yield f"{name} has shape {tuple(column.shape)}, the batch {tuple(mask.shape)}"
        return
    if not column.is_floating_point():
        yield f"{name} is {column.dtype}, must be a floating type"
    if column.requires_grad:
        yield f"{name} carries a gradient: detach what it is made from"
    if not column.isfinite().all():
        yield f"{name} has {int((~column.isfinite()).sum())} values that are not finite"
    outside = (~mask & (column != 0)).sum()
    if outside:
        yield f"{name} is not 0 at {int(outside)} tokens that the policy did not sample"


def _some(what: str, indices: Tensor) -> str:
    """`what` with the first few of its numbers."""
    shown = ", ".join(str(index) for index in indices[:5].tolist())
    return f"{what} {shown}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
