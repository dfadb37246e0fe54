"""Checks that the tables of a batch agree with each other, before anything is learned from them.

They catch, among others: a mask longer than the ids, an inverted mask, and another tensor passed as the
mask. Every fault is reported at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent.batch.batch import KINDS, Batch
from stepopsd_agent.batch.collating import sampled_steps
from stepopsd_envs.step_info import hash_number
from stepopsd_wrappers import Episode

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


def audit(batch: Batch) -> AuditReport:
    """Check the three tables against each other.

    Raises:
        AuditError: with every fault found; faults in the links between tables come alone.
    """
    problems = tuple(_link_problems(batch))
    problems = problems or (
        *_token_problems(batch),
        *_span_problems(batch),
        *_logprob_problems(batch),
        *_key_problems(batch),
    )
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
            yield name_some(name, missing)
    later = (episode[1:] > episode[:-1]) | ((episode[1:] == episode[:-1]) & (index[1:] > index[:-1]))
    if not later.all():
        unsorted = (~later).nonzero().flatten() + 1
        yield f"steps are not sorted by (episode, index): {name_some('step', unsorted)}"


def _token_problems(batch: Batch) -> Iterator[str]:
    """Sampled tokens where none can be, positions that do not count tokens, returns that are no numbers."""
    tokens, real = batch.tokens, batch.tokens.attention_mask
    beyond = (batch.action_mask & ~real).any(1).nonzero().flatten()
    if len(beyond):
        yield f"the action mask is longer than the ids (it selects padding) in {name_some('row', beyond)}"
    first = real & (real.cumsum(1) == 1)
    unprompted = (batch.action_mask & first).any(1).nonzero().flatten()
    if len(unprompted):
        rows = name_some("row", unprompted)
        yield f"{rows} begins with a sampled token, predicted by nothing: mask inverted?"
    misplaced = (real & (tokens.position_ids != real.cumsum(1) - 1)).any(1).nonzero().flatten()
    if len(misplaced):
        yield f"position_ids do not count the tokens in {name_some('row', misplaced)}"
    for name, values in (
        ("steps.reward", batch.steps.reward),
        ("episode_return", batch.episodes.episode_return),
        *((f"own[{name!r}]", column) for name, column in batch.own.items()),
    ):
        if not values.isfinite().all():
            yield f"{name} is not finite at {(~values.isfinite()).nonzero().squeeze(1).tolist()[:5]}"


def _span_problems(batch: Batch) -> Iterator[str]:
    """Steps that are not one run of tokens, or rows whose steps go backwards or mix episodes."""
    step, episode = batch.tokens.step_of_token, batch.steps.episode_of_step
    before = torch.cat([torch.full_like(step[:, :1], -1), step[:, :-1]], dim=1)
    starts = (step >= 0) & (step != before)
    row, first = starts.nonzero()[:, 0], step[starts]
    broken = (torch.bincount(first, minlength=batch.num_steps) > 1).nonzero().flatten()
    if len(broken):
        yield f"{name_some('step', broken)} is not one run of neighbouring tokens"
    same_row = row[1:] == row[:-1]
    backwards = same_row & (first[1:] < first[:-1])
    if backwards.any():
        yield f"steps go backwards in {name_some('row', torch.unique(row[1:][backwards]))}"
    mixed = same_row & (episode[first[1:]] != episode[first[:-1]])
    if mixed.any():
        yield f"steps of different episodes share {name_some('row', torch.unique(row[1:][mixed]))}"


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
        yield f"old_logprobs is not 0 where nothing was sampled in {name_some('row', stray)}: shifted mask?"


def _key_problems(batch: Batch) -> Iterator[str]:
    """Steps that act on another world than the step before them led to."""
    steps = batch.steps
    follows = (steps.episode_of_step[1:] == steps.episode_of_step[:-1]) & (
        steps.index_in_episode[1:] == steps.index_in_episode[:-1] + 1
    )
    for name, before, after in (
        ("anchor", steps.anchor, steps.next_anchor),
        ("state", steps.state, steps.next_state),
        ("text_key", steps.text_key, steps.next_text_key),
    ):
        if before is None or after is None:
            continue
        torn = (follows & (before[1:] != after[:-1])).nonzero().flatten()
        if len(torn):
            yield f"next_{name} differs from the next step's {name} at {name_some('step', torn)}"


def name_some(what: str, indices: Tensor) -> str:
    """Name the first few of several steps, rows or groups: "step 3, 7 and 12 more"."""
    shown = ", ".join(str(index) for index in indices[:5].tolist())
    return f"{what} {shown}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")


def check_episodes(batch: Batch, episodes: Sequence[Episode]) -> None:
    """Compare what was sampled where: hindsight of one episode for the tokens of another would go unnoticed.

    Raises:
        ValueError: the episodes are not those of the batch, in its order.
    """
    sampled, states = list[int](), list[int]()
    for episode in episodes:
        for index, tokens in sampled_steps(episode):
            sampled += tokens.sampled_ids
            states.append(hash_number(episode.steps[index - 1].info["step"]["state"]))
    given = batch.tokens.input_ids[batch.action_mask].tolist(), batch.steps.state.tolist()
    if given != (sampled, states):
        raise ValueError(
            f"the {len(episodes)} episodes are not those of the batch, which has {batch.num_episodes}, "
            "or not in its order: pass the list that collate got"
        )
