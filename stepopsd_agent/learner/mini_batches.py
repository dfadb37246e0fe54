"""The mini-batches of an update: one optimizer step each, and how much each token counts in them."""

from dataclasses import replace

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.config import UpdateConfig
from stepopsd_agent.credit import Credit
from stepopsd_agent.ops import losses


def mini_batches(batch: Batch, credit: Credit, count: int) -> tuple[list[Tensor], Credit]:
    """The rows of each mini-batch, and the credit with its further losses scaled for them.

    Further losses are normalised over the whole batch, of which a mini-batch is one part: times the number
    of parts their gradients are, in the mean over the parts, those of the whole batch.

    Args:
        batch: the whole batch.
        credit: of it.
        count: of mini-batches; fewer where there are fewer rows.
    """
    parts = list(torch.arange(batch.num_rows).tensor_split(min(count, batch.num_rows)))
    terms = tuple(replace(term, weights=len(parts) * term.weights) for term in credit.terms)
    return parts, replace(credit, terms=terms)


def loss_weights(batch: Batch, part: Tensor, config: UpdateConfig) -> Tensor:
    """[N, T] weights of the token losses of some rows, zero in the others; a sequence is an episode."""
    mask = torch.zeros_like(batch.action_mask)
    mask[part] = batch.action_mask[part]
    episode = batch.steps.episode_of_step[batch.tokens.step_of_token.clamp_min(0)]
    return losses.token_weights(mask, config.aggregation, sequence_of_token=episode, horizon=config.horizon)
