"""Which of a step's sampled tokens a method looks at: the whole turn, its action, or answers alone.

Spans come from ids recorded in sampling, never from text tokenised again: a span is a range of positions
among the tokens that the step sampled.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from stepopsd_agent.batch.batch import KINDS, Batch

Span = Literal["turn", "action", "answer", "final_answer"]
SPANS: tuple[str, ...] = get_args(Span)


def span_mask(batch: Batch, span: Span) -> Tensor:
    """[N, T] bool, True at the tokens of the span of every step.

    - "turn": every sampled token, reasoning and action.
    - "action": the range `steps.action_start` to `steps.action_end`; a step whose range is empty has no True.
    - "answer": the action of steps of kind "answer"; other steps have no True.
    - "final_answer": the same, of an episode's last step alone.

    Raises:
        ValueError: the span is unknown, or the batch does not know where the actions are.
    """
    if span not in SPANS:
        raise ValueError(f"span is {span!r}; it must be one of {', '.join(SPANS)}")
    if span == "turn":
        return batch.action_mask
    start, end = batch.steps.action_start, batch.steps.action_end
    if start is None or end is None:
        raise ValueError(
            f"span={span!r} needs steps.action_start and steps.action_end, which are None: use span='turn'"
        )
    step = batch.tokens.step_of_token.clamp(min=0)
    place = place_in_step(batch.tokens.step_of_token, batch.num_steps)
    action = batch.action_mask & (place >= start[step]) & (place < end[step])
    return action if span == "action" else action & _answers(batch, span)[step]


def kind_masks(batch: Batch) -> dict[str, Tensor]:
    """[N, T] bool masks that part the sampled tokens by kind; kinds without a token are left out.

    Kinds are those of steps (act, search, answer, invalid) for the tokens of their actions, and "thought" for
    what else a step sampled. Where the batch does not know where the actions are, a step is all action.
    """
    located = batch.steps.action_start is not None and batch.steps.action_end is not None
    action = span_mask(batch, "action" if located else "turn")
    kind = batch.steps.kind[batch.tokens.step_of_token.clamp(min=0)]
    masks = {name: action & (kind == number) for number, name in enumerate(KINDS)}
    masks["thought"] = batch.action_mask & ~action
    return {name: mask for name, mask in masks.items() if bool(mask.any())}


def _answers(batch: Batch, span: Span) -> Tensor:
    """[S] bool, True at the steps that answer; for "final_answer" at those that end an episode."""
    answers = batch.steps.kind == KINDS.index("answer")
    if span == "answer":
        return answers
    return answers & batch.last_step


def place_in_step(step_of_token: Tensor, steps: int) -> Tensor:
    """[N, T] int64: 0 at the first token a step sampled, then 1, 2, ...; -1 where the policy did not act."""
    acted = step_of_token >= 0
    column = torch.arange(step_of_token.shape[1], device=step_of_token.device).expand_as(step_of_token)
    first = column.new_zeros(steps).scatter_reduce(
        0, step_of_token[acted], column[acted], "amin", include_self=False
    )
    return torch.where(acted, column - first[step_of_token.clamp(min=0)], -1)
