"""``stepopsd credit list`` and ``stepopsd credit score``."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.batch.audit import audit, audit_credit
from stepopsd_agent.batch.penalties import penalise_invalid
from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import prompt_format, run_config, trained_policy
from stepopsd_agent.config.run import RunConfig
from stepopsd_agent.credit.base import CreditMethod
from stepopsd_agent.hindsight.teacher import taught
from stepopsd_agent.hindsight.teacher_logprobs import plain_logprobs
from stepopsd_agent.learner.columns import RECORDED, Columns, check_recorded
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.rollout.rollout import Sampling
from stepopsd_agent.run.files.atomic import write_bytes_atomic
from stepopsd_agent.run.score_records import (
    credit_records,
    grouped,
    has_tokens,
    with_a_token_per_step,
    with_tokens_of_text,
)
from stepopsd_agent.tasks.make import make_stack
from stepopsd_wrappers import Episode, read_episodes

IN_TRAINING = frozenset({"value", "mc_value"})
"""Columns that take a trained critic, or the policy that acted, and so a run."""


def run_credit(settings: Namespace) -> int:
    """List the methods, or compute one on recorded episodes."""
    if settings.action == "list":
        print(listing())
        return 0
    if settings.get("episodes") is None:
        raise UsageError("credit score needs the episodes: stepopsd credit score FOLDER --credit.method NAME")
    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
        if missing := sorted(method.needs & IN_TRAINING):
            raise ValueError(
                f"credit method {name!r} needs {', '.join(missing)}, which only a run can compute: "
                f"stepopsd train --credit.method {name}"
            )
    folder = episode_folder(Path(settings.episodes).expanduser())
    episodes = list(read_episodes(folder))
    sound = [episode for episode in episodes if episode.steps[-1].error is None]
    if not sound:
        raise UsageError(f"{folder} holds no episode that ended without an error: there is nothing to score")
    beside = folder if folder.is_dir() else folder.parent
    out = Path(settings.out).expanduser() if "out" in settings else beside / f"credit-{name}.jsonl"
    records, alone, further = _scored(
        sound, config, method, {"name": name, **chosen}, settings.get("group_by", "recorded")
    )
    lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    write_bytes_atomic(out, lines.encode())
    steps = sum(len(record["steps"]) for record in records)
    left = (
        f"; {len(episodes) - len(sound)} that met an error are left out" if len(sound) < len(episodes) else ""
    )
    credited = sum(any(step["tokens"]) for record in records for step in record["steps"])
    print(f"{name}: {len(records)} episodes, {steps} steps, {credited} of them with credit{left}")
    if further:
        print(f"its further loss ({further}) is learned from in a run alone, and no part of the file")
    if alone:
        print(
            f"{alone} episodes have a group of their own, and most methods compare members of a group: "
            "--group_by task puts all attempts at a task in one"
        )
    print(f"written to {out}")
    return 0


def listing() -> str:
    """Every method with its paper, what it needs beside the records, and its settings."""
    lines = []
    for name in credit.names():
        made = credit.make(name)
        summary = (type(made).__doc__ or "").partition("\n")[0]
        settings = ", ".join(f"{field.name}={getattr(made, field.name)}" for field in fields(type(made)))
        lines += [
            f"{name}: {summary}",
            f"    paper: {made.paper}",
            f"    needs: {', '.join(sorted(made.needs)) or 'nothing but the records'}",
            f"    settings: {settings or 'none'}",
        ]
    return "\n".join(lines)


def episode_folder(path: Path) -> Path:
    """Where the episodes are: a run folder keeps them in ``episodes/``."""
    inner = path / "episodes"
    return inner if inner.is_dir() else path


def _scored(
    episodes: Sequence[Episode], config: RunConfig, method: CreditMethod, about: dict[str, Any], by: Any
) -> tuple[list[dict[str, Any]], int, str]:
    """The records with credit, how many episodes have nobody to be compared with, and names of loss terms."""
    modelled = bool(method.needs - set(RECORDED))
    tokens = [has_tokens(episode) for episode in episodes]
    policy = trained_policy(config) if modelled else None
    if any(tokens) and not all(tokens):
        raise UsageError("some of the episodes were played by a model and others were not: score them apart")
    if not any(tokens):
        episodes = [_given_tokens(episode, config, policy) for episode in episodes]
    records, alone, further = [], 0, set[str]()
    for part in grouped(episodes, by):
        with settings_checked():
            batch = collate(part, pad_id=0, anchor_similarity=config.rollout.anchor_similarity)
        audit(batch)
        check_recorded(batch, method.needs)
        batch = penalise_invalid(batch, config.rollout.invalid_penalty)
        filled = _filled(batch, part, config, method.needs, policy)
        result = method(filled)
        audit_credit(filled, result)
        records += credit_records(part, filled, result, about)
        further |= {term.name for term in result.terms}
        sizes = batch.episodes.group_of_episode.bincount()
        alone += int((sizes == 1).sum())
    return records, alone, ", ".join(sorted(further))


def _given_tokens(episode: Episode, config: RunConfig, policy: Policy | None) -> Episode:
    """Tokens for the record of an agent that has none."""
    if policy is None:
        return with_a_token_per_step(episode)
    return with_tokens_of_text(policy, prompt_format(policy, config), episode, config.env.response)


def _filled(
    batch: Batch, episodes: Sequence[Episode], config: RunConfig, needs: frozenset[str], policy: Policy | None
) -> Batch:
    """The batch with the needed columns; the model is the student and, reading hindsight, the teacher."""
    if policy is None:
        return batch
    batch, budget = batch.to(policy.device), TokenBudget(config.learner.tokens_per_micro_batch, policy.device)
    temperature = config.rollout.temperature
    own = plain_logprobs(
        policy, batch, tokens_per_pass=budget, temperature=temperature, attention=config.learner.attention
    )
    batch = batch.with_tokens(old_logprobs=own, student_logprobs=own)
    batch = taught(policy, batch, episodes, config, needs, budget)
    sampling = Sampling("score", temperature, config.rollout.max_tokens, config.rollout.max_row_tokens)
    columns = Columns(config, policy, prompt_format(policy, config), needs)
    envs = [make_stack(config.env)] if "gold_answer_logprob" in needs else []
    return columns.fill(batch, episodes, needs, envs, sampling, budget)[0]
