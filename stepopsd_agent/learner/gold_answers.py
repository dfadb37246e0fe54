"""Gold answers: their log-probability before every step (IGPO, arXiv 2510.14967), and as hindsight."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gymnasium as gym
import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.hindsight import step_ranges
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.packed import Branch, Tree
from stepopsd_wrappers import Episode

if TYPE_CHECKING:
    from stepopsd_agent.learner.columns import Sources

OPEN = "<think>Now there is enough information to answer.</think><answer>"
"""Stands before the answer that is scored, where the step's response would begin."""


def gold_answer_logprobs(
    policy: Policy, batch: Batch, answers: Sequence[Sequence[str]], scorer: Scorer
) -> Tensor:
    """[S] mean log-probability per token (nats) of the gold answer in the context of the step's response.

    Of several spellings the likeliest counts.

    Args:
        policy: encodes the answers.
        batch: rows with the steps.
        answers: the gold answers of each episode of the batch, one or more spellings.
        scorer: scores them.
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
        for start, _ in step_ranges(steps):
            for target in spelled[int(batch.steps.episode_of_step[steps[start]])]:
                branches.append(Branch(start, opening, target))
                owners.append(steps[start])
        trees.append(Tree(ids[: branches[-1].at], tuple(branches)))
        asked.append(owners)
    scores = scorer.logprobs(trees)
    best = torch.full((batch.num_steps,), -torch.inf)
    for owners, (_, spellings) in zip(asked, scores, strict=True):
        for step, logprobs in zip(owners, spellings, strict=True):
            best[step] = torch.maximum(best[step], logprobs.mean())
    return best.to(batch.tokens.input_ids.device)


def gold_answers(env: gym.Env[str, str], episodes: Sequence[Episode]) -> list[tuple[str, ...]]:
    """The gold answers to each episode's task.

    Raises:
        MissingColumnError: the environment's tasks have none.
    """
    try:
        answers = env.get_wrapper_attr("golden_answers")
    except AttributeError as error:
        raise MissingColumnError(
            f"the credit method needs gold answers, which {env.unwrapped} does not have: train it on "
            "stepopsd/SearchQA-v0"
        ) from error
    return [tuple(answers(episode.task_id)) for episode in episodes]


def told_answers(envs: Sequence[gym.Env[str, str]], episodes: Sequence[Episode]) -> list[tuple[str, ...]]:
    """The gold answers that hindsight tells.

    Raises:
        MissingColumnError: there is no environment to ask, or its tasks have none.
    """
    if not envs:
        raise MissingColumnError(
            "hindsight.mode is gold, which the environment tells: pass envs=[...] to fill"
        )
    try:
        return gold_answers(envs[0], episodes)
    except MissingColumnError as error:
        raise MissingColumnError(
            f"hindsight.mode is gold, but {envs[0].unwrapped} has no gold answers, and its records tell no "
            "expert's plan: give another hindsight.mode, or train on stepopsd/SearchQA-v0"
        ) from error


def require_answers(env: gym.Env[str, str], *, scored: bool, told: bool) -> None:
    """Raise MissingColumnError where tasks have no gold answers, but they are to be scored or told."""
    if scored:
        gold_answers(env, [])
    if told:
        told_answers([env], [])


def fill_gold_answer_logprob(batch: Batch, sources: "Sources") -> Batch:
    """The policy's log-probability of the environment's gold answers."""
    answers = gold_answers(sources.environments("gold_answer_logprob")[0], sources.episodes)
    logprobs = gold_answer_logprobs(sources.policy, batch, answers, sources.scorer)
    return batch.with_columns(gold_answer_logprob=logprobs)
