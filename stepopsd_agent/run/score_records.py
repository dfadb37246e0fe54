"""Credit on recorded episodes of any agent, without training: records in, records with credit out.

Episodes that a language model played carry its tokens. Those of other agents are given one token per step,
which is all that methods without a teacher ask for; or a model's tokens of their texts, for an analysis with
that model (training goes on ids as they were sampled, and never sees these).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Credit
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.rollout import action_tokens
from stepopsd_wrappers import Episode, StepTokens
from stepopsd_wrappers.parse_response import ResponseFormat
from stepopsd_wrappers.text_history import MARKER, turn

SCHEMA = "stepopsd.credit/1"
Grouping = Literal["recorded", "task"]


def grouped(episodes: Sequence[Episode], by: Grouping) -> list[list[Episode]]:
    """The episodes in batches: those of one update together, or all of them, with a group for every task.

    Args:
        episodes: without errors.
        by: "recorded" keeps the groups as they were played; "task" puts all attempts at a task in one group.
    """
    if by == "recorded":
        updates: dict[tuple[str, int], list[Episode]] = {}
        for episode in episodes:
            updates.setdefault((episode.run, episode.update), []).append(episode)
        return list(updates.values())
    numbers: dict[str, int] = {}
    members: dict[str, int] = {}
    together = []
    for episode in episodes:
        group = numbers.setdefault(episode.task_id, len(numbers))
        member = members[episode.task_id] = members.get(episode.task_id, -1) + 1
        together.append(replace(episode, run="", update=0, group=group, member=member))
    return [together]


def has_tokens(episode: Episode) -> bool:
    """Whether every step was sampled by a model whose tokens are in the record."""
    return all(step.tokens is not None for step in episode.steps[1:])


def with_a_token_per_step(episode: Episode) -> Episode:
    """The episode as if every step had sampled one token, which is its action."""
    token = StepTokens((0,), (0,), (0.0,), new_row=False, action_span=(0, 1))
    steps = [
        replace(step, tokens=replace(token, new_row=index == 1) if index else None)
        for index, step in enumerate(episode.steps)
    ]
    return replace(episode, steps=tuple(steps))


def with_tokens_of_text(
    policy: Policy, form: PromptFormat, episode: Episode, response_format: ResponseFormat
) -> Episode:
    """The episode as a transcript in this model's tokens; log-probabilities are 0 until they are scored."""
    added = form.first_ids(episode.steps[0].observation + MARKER)
    steps = [episode.steps[0]]
    for step in episode.steps[1:]:
        ids = (*policy.encode([step.response])[0], int(policy.tokenizer.eos_token_id))
        span = action_tokens(policy, ids, step.response, response_format)
        tokens = StepTokens(tuple(added), ids, (0.0,) * len(ids), new_row=len(steps) == 1, action_span=span)
        steps.append(replace(step, tokens=tokens))
        added = form.turn_ids(turn(step.observation), closed=True)
    return replace(episode, steps=tuple(steps))


def credit_records(
    episodes: Sequence[Episode], batch: Batch, credit: Credit, method: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One JSON-able record per episode: who it is, and for each of its steps the credit.

    Args:
        episodes: what `batch` was collated from, in its order.
        batch: of these.
        credit: of the batch.
        method: name and fields of the method, for the record.
    """
    values: list[list[float]] = [[] for _ in range(batch.num_steps)]
    sampled = batch.action_mask
    for step, value in zip(
        batch.tokens.step_of_token[sampled].tolist(), credit.advantages[sampled].tolist(), strict=True
    ):
        values[step].append(value)
    steps: list[list[dict[str, Any]]] = [[] for _ in episodes]
    owners = zip(batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist(), strict=True)
    for (number, index), own in zip(owners, values, strict=True):
        action = episodes[number].steps[index].action
        steps[number].append({"index": index, "action": action, "credit": sum(own) / len(own), "tokens": own})
    return [_record(episode, found, method) for episode, found in zip(episodes, steps, strict=True)]


def _record(episode: Episode, steps: list[dict[str, Any]], method: Mapping[str, Any]) -> dict[str, Any]:
    """Identity, outcome and steps."""
    return {
        "schema": SCHEMA,
        "method": dict(method),
        "run": episode.run,
        "update": episode.update,
        "group": episode.group,
        "member": episode.member,
        "task_id": episode.task_id,
        "episode_return": episode.episode_return,
        "success": episode.success,
        "steps": steps,
    }
