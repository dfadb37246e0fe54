"""What the hindsight teacher thinks of a batch: of its sampled tokens, or of all that could have been."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from stepopsd_agent.batch import Batch, TopK
from stepopsd_agent.config.run import Attention, RunConfig
from stepopsd_agent.hindsight.prompt import hindsight_blocks
from stepopsd_agent.hindsight.teacher_logprobs import read_trees, row_tree, teacher_logprobs
from stepopsd_agent.models.packed.logprobs import likeliest
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy
from stepopsd_wrappers import Episode

TAUGHT = frozenset({"teacher_logprobs", "teacher_topk", "informed"})
"""Columns that the hindsight teacher fills."""


def taught(
    policy: Policy,
    batch: Batch,
    episodes: Sequence[Episode],
    config: RunConfig,
    needs: frozenset[str],
    budget: TokenBudget,
) -> Batch:
    """The batch with those columns of `TAUGHT` that are needed.

    Args:
        policy: holds the teacher's weights.
        batch: of `episodes`, in their order.
        episodes: what the hindsight is made from.
        config: its sections hindsight, rollout (the temperature) and learner (how to attend).
        needs: names of columns; others than `TAUGHT` are passed over.
        budget: tokens per forward pass.
    """
    hindsight, temperature, attention = config.hindsight, config.rollout.temperature, config.learner.attention
    blocks = hindsight_blocks(policy, hindsight, episodes)
    if "informed" in needs:
        informed = torch.tensor([bool(block) for block in blocks], device=batch.tokens.input_ids.device)
        batch = replace(batch, episodes=replace(batch.episodes, informed=informed))
    if "teacher_logprobs" in needs:
        scored = teacher_logprobs(
            policy,
            batch,
            blocks,
            hindsight.position,
            tokens_per_pass=budget,
            temperature=temperature,
            attention=attention,
        )
        batch = batch.with_tokens(teacher_logprobs=scored)
    if "teacher_topk" in needs:
        likely = teacher_topk(
            policy,
            batch,
            blocks,
            hindsight.position,
            hindsight.top_k,
            tokens_per_pass=budget,
            temperature=temperature,
            attention=attention,
        )
        batch = replace(batch, teacher_topk=likely)
    return batch


def teacher_topk(
    policy: Policy,
    batch: Batch,
    blocks: Sequence[Sequence[int]],
    position: str,
    top_k: int,
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> TopK:
    """The teacher's `top_k` likeliest tokens at every action token, in the hindsight-enriched contexts.

    Args:
        policy: holds the teacher's weights.
        batch: rows to score.
        blocks: hindsight ids per episode; an empty one leaves the context as it was.
        position: "inline" or "prefix", see `rescore.teacher_logprobs`.
        top_k: how many tokens are kept; 0 keeps the whole vocabulary.
        tokens_per_pass: tokens per forward pass; changes memory, not results.
        temperature: as in sampling.
        attention: see `LearnerConfig.attention`.
    """
    trees = [row_tree(batch, n, blocks, position)[0] for n in range(batch.num_rows)]
    # A tree lists its scored tokens in the order of the row's columns: trunk and steps both go forward.
    rows = read_trees(
        policy,
        trees,
        lambda _: likeliest(top_k),
        tokens_per_pass=tokens_per_pass,
        temperature=temperature,
        attention=attention,
    )
    return TopK(torch.cat([ids for ids, _ in rows]), torch.cat([logprobs for _, logprobs in rows]))
