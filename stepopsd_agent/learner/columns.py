"""Optional columns of a batch: `fill` computes those that are needed, each by the function of its name.

A credit method says which columns it needs; nothing here knows which method that is. Columns of the tables
are filled by ``fill_NAME(batch, sources)``, which stands or is imported here; those of
`batch.register_column` bring their own function.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import gymnasium as gym
import torch
from torch import Tensor

from stepopsd_agent.batch import Batch, audit, check_episodes, column_fields, owner
from stepopsd_agent.config import HindsightConfig
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.hindsight import Block, Blocks, batch_logprobs, batch_topk, hindsight_blocks, untold_rows
from stepopsd_agent.learner.critic import Critic
from stepopsd_agent.learner.gold_answers import (
    fill_gold_answer_logprob as fill_gold_answer_logprob,
    told_answers,
)
from stepopsd_agent.learner.monte_carlo import FreshAttempts, fill_mc_value as fill_mc_value
from stepopsd_agent.learner.recorded import (
    fill_inferred_transitions as fill_inferred_transitions,
    fill_lifted_distance as fill_lifted_distance,
    fill_next_lifted_distance as fill_next_lifted_distance,
    fill_next_text_key as fill_next_text_key,
    fill_past as fill_past,
    fill_text_key as fill_text_key,
    recorded_columns,
)
from stepopsd_agent.learner.task_history import TaskHistory
from stepopsd_agent.models import Policy, Scorer, check_policy
from stepopsd_wrappers import Episode

Weights = dict[str, Tensor]
"""Other weights of the policy's network, as `Policy.state` gives them."""


@dataclass
class Cost:
    """Tokens sampled and environment interactions made to fill columns, beside forward passes."""

    generated: int = 0
    env_steps: int = 0


@dataclass
class Sources:
    """The inputs that columns are computed from: the arguments of `fill`."""

    policy: Policy
    episodes: Sequence[Episode]
    scorer: Scorer
    hindsight: HindsightConfig
    teacher: Weights | None = None
    teacher_rows: Tensor | None = None
    reference: Weights | None = None
    critic: Critic | None = None
    history: TaskHistory | None = None
    envs: Sequence[gym.Env[str, str]] = ()
    fresh: FreshAttempts = field(default_factory=FreshAttempts)
    cost: Cost = field(default_factory=Cost)
    gap: bool = False
    rescored: bool = False

    @cached_property
    def blocks(self) -> list[Block]:
        """Every episode's hindsight."""
        answers = told_answers(self.envs, self.episodes) if self.hindsight.mode == "gold" else None
        return hindsight_blocks(self.policy, self.hindsight, self.episodes, answers)

    def logprobs(self, batch: Batch, blocks: Blocks = ()) -> Tensor:
        """Log-probabilities of the action tokens, as `batch_logprobs` gives them.

        Where a gap between teacher and student is taken, rows whose context no hindsight changes go through
        the model in passes of their own, which are the same for both: equal weights give equal numbers,
        however these are rounded.
        """
        position = self.hindsight.position
        apart = untold_rows(batch, self.blocks, position) if self.gap else ()
        return batch_logprobs(self.scorer, batch, blocks, position, apart)

    def asked_logprobs(self, batch: Batch, others: Tensor | None = None, blocks: Blocks = ()) -> Tensor:
        """`logprobs` with the rows that the teacher is asked about in passes of their own.

        The other rows keep `others`; without any they are scored, too.
        """
        asked = self.teacher_rows
        if asked is None or not self.gap:
            return self.logprobs(batch, blocks)
        logprobs = (batch.tokens.old_logprobs if others is None else others).clone()
        for chosen in (asked, ~asked) if others is None else (asked,):
            if chosen.any():
                rows = chosen.nonzero()[:, 0]
                some = replace(batch, tokens=batch.tokens.rows(rows), teacher_topk=None, own={})
                logprobs[rows] = self.logprobs(some, blocks).to(logprobs.dtype)
        return logprobs

    def environments(self, column: str) -> Sequence[gym.Env[str, str]]:
        """Those given, which a column needs; raise MissingColumnError where there are none."""
        if not self.envs:
            raise MissingColumnError(f"the column {column} needs environments: pass envs=[...] to fill")
        return self.envs

    def weights(self, other: Weights | None) -> AbstractContextManager[None]:
        """Score with other weights for a while; None keeps the policy's."""
        return nullcontext() if other is None else self.policy.weights(other)


def fill(
    batch: Batch,
    episodes: Sequence[Episode],
    needs: Collection[str],
    policy: Policy | None,
    *,
    scorer: Scorer | None = None,
    hindsight: HindsightConfig | None = None,
    teacher: Weights | None = None,
    teacher_rows: Tensor | None = None,
    reference: Weights | None = None,
    critic: Critic | None = None,
    history: TaskHistory | None = None,
    envs: Sequence[gym.Env[str, str]] = (),
    fresh: FreshAttempts | None = None,
    rescore_old: bool = False,
    cost: Cost | None = None,
) -> Batch:
    """Audit a batch, compute the optional columns that are needed, and audit these.

    Args:
        batch: as `collate` makes it of `episodes`.
        episodes: the records, in the order of the batch.
        needs: names of columns, as in `CreditMethod.needs`.
        policy: the student; with other weights teacher and reference. None: see `recorded_columns`.
        scorer: settings of the forward passes; the default has temperature 1.
        hindsight: content and position of the hindsight block; the paper's settings when absent.
        teacher: weights of the teacher; None takes the policy's own, a live teacher.
        teacher_rows: [N] bool, the rows to ask the teacher about, see `teacher_rows`; in the others it
            is taken to agree with the student. None asks about all.
        reference: weights of the reference policy, which `ref_logprobs` needs: those before training.
        critic: predicts `value`.
        history: knows the `past`; its `add` is to be called after every update.
        envs: stacks like those that played, to be asked or played by columns, or asked for gold answers.
        fresh: how the fresh attempts behind `mc_value` are played.
        rescore_old: recompute `old_logprobs` with the policy instead of keeping those recorded in sampling.
            With `teacher_logprobs` that costs nothing more: the student is scored anew beside a teacher.
        cost: filled with what fresh attempts consumed.

    Raises:
        AuditError: the batch contradicts itself.
        MissingColumnError: a column needs something that is not given, or that the environment does not tell.
        ValueError: there is no such column, or the episodes are not those of the batch, in its order.
    """
    if policy is not None:
        check_policy(policy)
    if isinstance(needs, str) or not isinstance(needs, Collection):
        raise ValueError(f"needs is {needs!r:.60}; give names of columns, such as method.needs")
    sources = Sources(
        policy=cast(Policy, policy), episodes=episodes, hindsight=hindsight or HindsightConfig(),
        scorer=cast(Scorer, scorer or (policy and Scorer(policy))),
        teacher=teacher, teacher_rows=teacher_rows, reference=reference, critic=critic, history=history,
        envs=envs, fresh=fresh or FreshAttempts(), cost=cost or Cost(),
        gap="teacher_logprobs" in needs, rescored=rescore_old,
    )  # fmt: skip
    _check(batch, needs, sources, policy)
    batch = _filled(batch, sources, needs)
    audit(batch)
    return batch


def _filled(batch: Batch, sources: Sources, needs: Collection[str]) -> Batch:
    if sources.rescored:
        batch = batch.with_columns(old_logprobs=sources.asked_logprobs(batch))
    for name, spec in column_fields().items():
        if name in needs and callable(compute := spec.metadata.get("filled")):
            column = compute(batch, sources)
            if not isinstance(column, Tensor):
                raise TypeError(f"{name} returned {type(column).__name__}; give its column, a tensor")
            batch = batch.with_columns(**{name: column})
        elif name in needs and compute:
            if f"fill_{name}" not in globals():
                raise ValueError(f"column {name} is declared filled, so {__name__} must have a fill_{name}")
            batch = globals()[f"fill_{name}"](batch, sources)
    return batch


_KINDS: dict[str, type] = {
    "scorer": Scorer, "hindsight": HindsightConfig, "teacher_rows": Tensor, "teacher": dict,
    "reference": dict, "critic": Critic, "history": TaskHistory, "fresh": FreshAttempts,
}  # fmt: skip
"""Types of the optional arguments of `fill`; weights are dictionaries."""


def _check(batch: Batch, needs: Collection[str], sources: Sources, policy: Policy | None) -> None:
    """Raise what `fill` raises before it computes anything."""
    if not isinstance(batch, Batch):
        raise TypeError(f"batch is {batch!r:.60}; give a Batch, as collate(episodes) makes it")
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(sources, name), kind | None):
            give = "weights, such as policy.state()" if kind is dict else f"a {kind.__name__}"
            raise TypeError(f"{name} is {value!r:.60}, of type {type(value).__name__}; give {give}")
    if policy is not None and sources.scorer.model is not policy:
        raise ValueError("scorer holds another policy: make it of the one that is passed, Scorer(policy)")
    rows = sources.teacher_rows
    if rows is not None and (rows.dtype != torch.bool or len(rows) != batch.num_rows):
        got = f"{rows.dtype} {tuple(rows.shape)}"
        raise ValueError(f"teacher_rows is {got}; it must be torch.bool ({batch.num_rows},), one per row")
    audit(batch)
    for name in sorted(needs):
        owner(name)
    if policy is None and (missing := sorted(set(needs) - recorded_columns())):
        raise MissingColumnError(f"{', '.join(missing)}: no column of the records alone; pass the policy")
    check_recorded(batch, needs)
    check_episodes(batch, sources.episodes)


def check_recorded(batch: Batch, needs: Collection[str]) -> None:
    """Raise MissingColumnError where the records lack a column that is needed and cannot be computed."""
    for name, spec in column_fields().items():
        if name in needs and "remedy" in spec.metadata and batch.column(name) is None:
            raise MissingColumnError(
                f"the credit method needs {name}, which the records do not tell: {spec.metadata['remedy']}"
            )


def fill_student_logprobs(batch: Batch, sources: Sources) -> Batch:
    """Before the update the student is the policy that sampled.

    Beside a teacher it is scored as the teacher is, in one more forward pass: what play recorded comes of
    another kernel and differs by rounding, in bfloat16 by as much as hindsight can make.
    """
    old = batch.tokens.old_logprobs
    if not sources.gap or sources.rescored:
        return batch.with_columns(student_logprobs=old)
    return batch.with_columns(student_logprobs=sources.asked_logprobs(batch, old))


def fill_ref_logprobs(batch: Batch, sources: Sources) -> Batch:
    """The reference scores every row in its own context.

    The policy's own weights are no default: the KL to them is zero, and nobody would notice.
    """
    if sources.reference is None:
        raise MissingColumnError(
            "the column ref_logprobs needs the reference's weights: take reference=policy.origin() before "
            "training and pass it to fill"
        )
    with sources.weights(sources.reference):
        return batch.with_columns(ref_logprobs=batch_logprobs(sources.scorer, batch))


def fill_teacher_logprobs(batch: Batch, sources: Sources) -> Batch:
    """The teacher scores every step behind its hindsight block."""
    student = batch.tokens.student_logprobs
    agreeing = batch.tokens.old_logprobs if student is None else student
    with sources.weights(sources.teacher):
        return batch.with_columns(teacher_logprobs=sources.asked_logprobs(batch, agreeing, sources.blocks))


def fill_teacher_topk(batch: Batch, sources: Sources) -> Batch:
    """The teacher's distributions in the same contexts."""
    hindsight = sources.hindsight
    with sources.weights(sources.teacher):
        likely = batch_topk(sources.scorer, batch, hindsight.top_k, sources.blocks, hindsight.position)
    return batch.with_columns(teacher_topk=likely)


def fill_informed(batch: Batch, sources: Sources) -> Batch:
    """An episode with a hindsight block has an informed teacher."""
    informed = torch.tensor([bool(block) for block in sources.blocks], device=batch.tokens.input_ids.device)
    return batch.with_columns(informed=informed)


def fill_value(batch: Batch, sources: Sources) -> Batch:
    """The critic's values."""
    if sources.critic is None:
        raise MissingColumnError(
            "the column value needs a critic: pass critic=Critic(policy), and train it on the credit's "
            "value_targets after every update"
        )
    return batch.with_columns(value=sources.critic.values(batch, sources.scorer.budget))
