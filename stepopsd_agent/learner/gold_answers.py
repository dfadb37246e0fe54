"""How likely the policy finds the right answer before every step of an episode."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.config.run import Attention
from stepopsd_agent.hindsight.teacher_logprobs import score_trees, step_spans
from stepopsd_agent.models.packed.prefix_tree import Branch, Tree
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy

OPEN = "<think>Now there is enough information to answer.</think><answer>"
"""What stands before the answer whose log-probability is asked for, where the step's response would begin."""


def gold_answer_logprobs(
    policy: Policy,
    batch: Batch,
    answers: Sequence[Sequence[str]],
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> Tensor:
    """[S] mean log-probability per token of the gold answer, given what the step's response was given.

    Of several spellings that one counts which is likeliest there.

    Args:
        policy: who is asked.
        batch: rows whose steps are the places.
        answers: the right answers of each episode of the batch, one or more.
        tokens_per_pass: tokens per forward pass; changes memory, not results.
        temperature: as in sampling.
        attention: see `LearnerConfig.attention`.
    """
    opening = tuple(policy.encode([OPEN])[0])
    spelled = [[tuple(ids) for ids in policy.encode(list(given))] for given in answers]
    trees: list[Tree] = []
    asked: list[list[int]] = []
    for n in range(batch.num_rows):
        length = int(batch.tokens.attention_mask[n].sum())
        ids = tuple(batch.tokens.input_ids[n, :length].tolist())
        steps = batch.tokens.step_of_token[n, :length].tolist()
        branches, owners = [], []
        for start, _ in step_spans(steps):
            for target in spelled[int(batch.steps.episode_of_step[steps[start]])]:
                branches.append(Branch(start, opening, target))
                owners.append(steps[start])
        trees.append(Tree(ids[: branches[-1].at], tuple(branches)))
        asked.append(owners)
    scores = score_trees(
        policy, trees, tokens_per_pass=tokens_per_pass, temperature=temperature, attention=attention
    )
    best = torch.full((batch.num_steps,), -torch.inf)
    for owners, (_, found) in zip(asked, scores, strict=True):
        for step, logprobs in zip(owners, found, strict=True):
            best[step] = torch.maximum(best[step], logprobs.mean())
    return best.to(batch.tokens.input_ids.device)
