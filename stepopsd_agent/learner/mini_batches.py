"""The mini-batches of an update: rows, their weights in the loss, which of them need no pass, and figures."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.config import UpdateConfig
from stepopsd_agent.credit import Credit, CreditMethod, step_scores
from stepopsd_agent.ops import losses


def mini_batches(batch: Batch, credit: Credit, count: int, seed: int | str) -> tuple[list[Tensor], Credit]:
    """The rows of each mini-batch, and the credit with its further losses scaled for them.

    A mini-batch is the rows of some episodes, drawn without regard to their groups; several rows of one
    episode stay together, so that rows of episodes and rows of steps make the same mini-batches.

    Further losses are normalised over the whole batch, of which a mini-batch is one part: times the number
    of parts their gradients are, in the mean over the parts, those of the whole batch.

    Args:
        batch: the whole batch.
        credit: of it.
        count: of mini-batches; fewer where there are fewer episodes.
        seed: names the order of the episodes; with one mini-batch there is none.
    """
    episode = batch.steps.episode_of_step[batch.tokens.step_of_token.amax(1)].cpu()
    order = torch.arange(batch.num_episodes)
    if count > 1:
        digest = hashlib.blake2b(f"{seed}|mini-batches".encode(), digest_size=16).digest()
        noise = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        order = order[torch.from_numpy(noise.random(len(order)).argsort(kind="stable"))]
    parts = [torch.isin(episode, some).nonzero()[:, 0] for some in order.tensor_split(min(count, len(order)))]
    terms = tuple(replace(term, weights=len(parts) * term.weights) for term in credit.terms)
    return parts, replace(credit, terms=terms)


def teacher_rows(method: CreditMethod, batch: Batch) -> Tensor | None:
    """[N] bool, the rows whose teacher can change the method's credit; None where it may be any of them.

    Of a method that claims `teacher_scales` these are the rows of groups in which returns differ, or what
    single steps are charged.
    """
    if "teacher_scales" not in method.claims:
        return None
    group, groups = batch.group_of_step, int(batch.episodes.group_of_episode.max()) + 1
    scores = step_scores(batch, batch.episodes.episode_return.detach())
    row_step = batch.tokens.step_of_token.amax(1)  # a row is of one episode
    return ops.mixed(scores, group, groups)[group[row_step]]


def learned_from(
    rows: Tensor, credit: Credit, config: UpdateConfig, *, weights: Tensor, extents: Tensor, alone: bool
) -> tuple[Tensor, float]:
    """The rows that have to be computed, those with an advantage, a further loss or a KL term.

    The gradient of the others is zero whatever the policy; the weights of the loss count them all the same.

    Args:
        rows: numbers of the rows [M] of a mini-batch, or of a process's share in it.
        credit: of the whole batch.
        config: of the update.
        weights: [N, T] of the token losses.
        extents: [N] how far each row of the batch is needed.
        alone: no other process has rows. Then the shortest row stands for all where there is none to learn
            from: the optimizer steps with gradients of zero, not without any.

    Returns:
        Their numbers, and the weight of the others' tokens.
    """
    some = (credit.advantages[rows] != 0).any(1) | bool(config.kl_coef)
    for term in credit.terms:
        some = some | (term.weights[rows] != 0).any(1)
    some = some.to(rows.device)
    left_out = float(weights[rows[~some]].sum())
    if alone and not some.any():
        some[extents[rows].argmin()] = True
    return rows[some], left_out


def per_token(stats: Mapping[str, float], weights: Tensor, config: UpdateConfig) -> dict[str, float]:
    """The figures of a mini-batch, those that are means over tokens as such whatever the aggregation.

    Args:
        stats: sums with the weights, and under ``left_out`` the weight of the rows that were not computed.
        weights: [N, T] of the token losses.
        config: of the update.
    """
    figures, whole = dict(stats), float(weights.sum())
    left_out = figures.pop("left_out")
    if config.aggregation.startswith("seq-mean-token-sum"):  # the weights of the others sum to 1
        figures |= {name: figures[name] / whole for name in ("kl", "clip_fraction", "approx_kl")}
    if left_out:
        share = 1 - left_out / whole
        figures["approx_kl"] = figures["approx_kl"] / share if share > 1e-6 else 0.0
    return figures


def loss_weights(batch: Batch, part: Tensor, config: UpdateConfig) -> Tensor:
    """[N, T] weights of the token losses of some rows, zero in the others; a sequence is an episode."""
    mask = torch.zeros_like(batch.action_mask)
    mask[part] = batch.action_mask[part]
    episode = batch.steps.episode_of_step[batch.tokens.step_of_token.clamp_min(0)]
    return losses.token_weights(mask, config.aggregation, sequence_of_token=episode, horizon=config.horizon)
