"""Credit on recorded episodes of any agent, without training: records in, records with credit out.

Episodes that a language model played carry its tokens. Those of other agents are given one token per step,
which is all that methods without a teacher ask for; or a model's tokens of their texts, for an analysis with
that model (training goes on ids as they were sampled, and never sees these).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import gymnasium as gym
from torch import Tensor

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit import Credit, CreditMethod, audit_credit
from stepopsd_agent.learner import TaskHistory, fill
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import action_tokens
from stepopsd_agent.tasks import data_identity, instance_of, make_stack, names, response_format
from stepopsd_wrappers import MARKER, Episode, StepTokens
from stepopsd_wrappers.parse_response import ResponseFormat, parse_response
from stepopsd_wrappers.text_history import turn

SCHEMA = "stepopsd.credit/1"
_TOLD = frozenset({"teacher_logprobs", "teacher_topk", "informed"})
"""Columns that depend on hindsight."""
Grouping = Literal["recorded", "task"]
IN_TRAINING = frozenset({"value", "mc_value", "ref_logprobs"})
"""Columns that take a trained critic, the policy that acted or the weights before training, and so a run."""


@dataclass(frozen=True)
class ScoredRecords:
    """The result of `score_records`.

    Attributes:
        records: one per episode, JSON-able, with the credit of each of its steps.
        alone: number of episodes that are alone in their group.
        terms: names of the method's further losses, which records cannot hold.
    """

    records: list[dict[str, Any]]
    alone: int
    terms: tuple[str, ...]


def score_records(
    episodes: Sequence[Episode],
    config: RunConfig,
    method: CreditMethod,
    about: Mapping[str, Any],
    policy: Policy | None,
    by: Grouping = "recorded",
) -> ScoredRecords:
    """Compute a credit method on recorded episodes; updates before one, of the same run, are its past.

    Args:
        episodes: without errors.
        config: its sections env, rollout, hindsight and learner.
        method: the credit method.
        about: its name and fields, for the records.
        policy: the student and, reading hindsight, the teacher; None where the method needs no model.
        by: which attempts are compared, see `grouped`.

    Raises:
        ValueError: some episodes have tokens and others have none, or a column cannot be computed.
    """
    episodes = with_some_tokens(episodes, config, policy)
    histories = defaultdict[str, TaskHistory](lambda: TaskHistory(method.needs))
    records, alone, terms = [], 0, set[str]()
    envs = envs_to_ask(episodes, config, method.needs)
    for part in grouped(episodes, by):
        batch = collate(part, **config.rollout.of_batch())
        history = histories[part[0].run]
        batch = _filled(batch, part, config, method.needs, policy, envs, history)
        result = method(batch)
        audit_credit(batch, result)
        if TaskHistory.serves(method.needs):
            history.add(batch, part)
        records += credit_records(part, batch, result, about)
        terms |= {term.name for term in result.terms}
        alone += int((batch.episodes.group_of_episode.bincount() == 1).sum())
    return ScoredRecords(records, alone, tuple(sorted(terms)))


def envs_to_ask(
    episodes: Sequence[Episode], config: RunConfig, columns: Collection[str]
) -> list[gym.Env[str, str]]:
    """The environment that was played, where columns need its gold answers; otherwise none.

    It is made as the records say, whatever the settings: their tasks are unknown to another one.

    Raises:
        ValueError: the records are of several sets of tasks, or it has others today.
    """
    gold = config.hindsight.mode == "gold" and bool(_TOLD.intersection(columns))
    if "gold_answer_logprob" not in columns and not gold:
        return []
    if (sets := len({episode.fingerprint for episode in episodes})) > 1:
        raise ValueError(
            f"the episodes are of {sets} sets of tasks, and gold answers are asked of one: score each set of "
            "episodes apart"
        )
    spec = episodes[0].env_spec
    if not spec["id"]:
        env: gym.Env[str, str] = make_stack(config.env)
    else:
        env = gym.make(spec["id"], disable_env_checker=True, **spec["kwargs"])
    if data_identity(env)["fingerprint"] != episodes[0].fingerprint:
        raise ValueError(
            f"gold answers are asked of {env.unwrapped}, which has other tasks than were played: its files "
            "or its settings have changed since the episodes were recorded"
        )
    return [env]


def _filled(
    batch: Batch,
    episodes: Sequence[Episode],
    config: RunConfig,
    needs: frozenset[str],
    policy: Policy | None,
    envs: Sequence[gym.Env[str, str]],
    history: TaskHistory,
) -> Batch:
    """The audited batch with the needed columns."""
    if policy is None:
        return fill(batch, episodes, needs, None, history=history)
    scorer = Scorer(
        policy,
        tokens_per_pass=config.learner.tokens_per_micro_batch,
        temperature=config.rollout.temperature,
        attention=config.learner.attention,
    )
    return fill(
        batch.to(policy.device),
        episodes,
        needs,
        policy,
        scorer=scorer,
        hindsight=config.hindsight,
        history=history,
        envs=envs,
        rescore_old=True,
    )


def with_some_tokens(
    episodes: Sequence[Episode], config: RunConfig, policy: Policy | None
) -> Sequence[Episode]:
    """The episodes as they are; those of an agent that has no tokens with one per step, or the model's.

    Raises:
        ValueError: some episodes have tokens and others have none.
    """
    tokens = [has_tokens(episode) for episode in episodes]
    if any(tokens) and not all(tokens):
        raise ValueError("some of the episodes were played by a model and others were not: score them apart")
    if any(tokens):
        return episodes
    if policy is None:
        return [with_a_token_per_step(episode) for episode in episodes]
    return [with_tokens_of_text(policy, episode, _format_of(episode, config)) for episode in episodes]


def _format_of(episode: Episode, config: RunConfig) -> ResponseFormat:
    """The format of responses that was played, in the environment that was: the one that finds its actions.

    Settings are another command's; they decide where several find them, or none does.
    """
    played = episode.env_spec["id"]
    env = replace(config.env, id=played if played in names() else config.env.id)
    bare = response_format(replace(env, response="plain"))
    given: list[ResponseFormat] = [response_format(env), "tags", bare]
    said = [step for step in episode.steps[1:] if step.response]

    def finds(format: ResponseFormat) -> bool:
        return all(parse_response(step.response, format).command == step.action for step in said)

    return next(filter(finds, given), given[0])


def grouped(episodes: Sequence[Episode], by: Grouping) -> list[list[Episode]]:
    """The episodes in batches: those of one update together, or all of them, with a group for every task.

    Args:
        episodes: without errors.
        by: "recorded" keeps the groups as they were played; "task" puts all attempts at a task in one group,
            those apart that were in worlds of their own (`TaskSpec.instance`).
    """
    if by == "recorded":
        updates: dict[tuple[str, int], list[Episode]] = {}
        for episode in episodes:
            updates.setdefault((episode.run, episode.update), []).append(episode)
        return list(updates.values())
    numbers: dict[tuple[object, str], int] = {}
    members: Counter[int] = Counter()
    together = []
    for episode in episodes:
        group = numbers.setdefault((played_task(episode), instance_of(episode)), len(numbers))
        member = members[group]
        members[group] += 1
        together.append(replace(episode, run="", update=0, group=group, member=member))
    return [together]


def played_task(episode: Episode) -> tuple[str, str, str]:
    """The task of an episode: tasks of two sets may have one name, but then their goals differ."""
    return str(episode.env_spec["id"]), episode.task_id, str(episode.steps[0].info.get("goal", ""))


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


def with_tokens_of_text(policy: Policy, episode: Episode, response_format: ResponseFormat) -> Episode:
    """The episode as a transcript in this model's tokens; log-probabilities are 0 until they are scored."""
    added = policy.prompt_format.first_ids(episode.steps[0].observation + MARKER)
    steps = [episode.steps[0]]
    for step in episode.steps[1:]:
        ids = tuple(policy.prompt_format.response_ids(step.response))
        span = action_tokens(policy, ids, policy.decode(ids), response_format)
        tokens = StepTokens(tuple(added), ids, (0.0,) * len(ids), new_row=len(steps) == 1, action_span=span)
        steps.append(replace(step, tokens=tokens))
        added = policy.prompt_format.turn_ids(turn(step.observation), closed=True)
    return replace(episode, steps=tuple(steps))


def credit_records(
    episodes: Sequence[Episode], batch: Batch, credit: Credit, method: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One JSON-able record per episode: who it is, and for each of its steps the credit.

    Where a teacher was asked, a step also has under `gap` its log-probabilities less the student's, by token.

    Args:
        episodes: what `batch` was collated from, in its order.
        batch: of these.
        credit: of the batch.
        method: name and fields of the method, for the record.
    """
    values = _by_step(batch, credit.advantages)
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    gaps = None if teacher is None or student is None else _by_step(batch, teacher - student)
    steps: list[list[dict[str, Any]]] = [[] for _ in episodes]
    owners = zip(batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist(), strict=True)
    for place, ((number, index), token_credits) in enumerate(zip(owners, values, strict=True)):
        action = episodes[number].steps[index].action
        step = {
            "index": index,
            "action": action,
            "credit": sum(token_credits) / len(token_credits),
            "tokens": token_credits,
        }
        steps[number].append(step if gaps is None else {**step, "gap": gaps[place]})
    return [
        _record(episode, step_credits, method) for episode, step_credits in zip(episodes, steps, strict=True)
    ]


def _by_step(batch: Batch, values: Tensor) -> list[list[float]]:
    """The values [N, T] of the sampled tokens, step by step."""
    steps: list[list[float]] = [[] for _ in range(batch.num_steps)]
    sampled = batch.action_mask
    for step, value in zip(
        batch.tokens.step_of_token[sampled].tolist(), values[sampled].tolist(), strict=True
    ):
        steps[step].append(value)
    return steps


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
