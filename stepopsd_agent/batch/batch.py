"""The three linked tables every update works on: tokens, steps and episodes.

`N` rows of `T` tokens hold `S` steps of `E` episodes. A row may be a whole episode or a single step;
nothing that reads a batch can tell. `step_of_token` is the one owner of "which tokens did the policy
sample, and at which step": the action mask is derived from it, so mask and segmentation cannot disagree.

A column is declared once, in its field: type, meaning, and either how it is read off the records (`collate`
does that) or that `learner.columns.fill` computes it; or, in any file, by `declaring.register_column`. None:
not computed, which is not the same as zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from stepopsd_agent.batch.declaring import OWN, collated, filled, read, reported
from stepopsd_agent.batch.parts import Past, TopK, Transitions
from stepopsd_envs.step_info import hash_number
from stepopsd_wrappers.episode import Step

KINDS = ("reset", "act", "search", "answer", "invalid")
"""Step kinds; the column `Steps.kind` holds positions in this tuple."""

_DISTANCE = "set env.oracle to true (stepopsd/ALFWorld-v0)"
_GOLD = "choose an environment that knows gold passages (stepopsd/SearchQA-v0)"


def _key(step: Step, name: str) -> int:
    return hash_number(step.info["step"][name])


def _kind(step: Step) -> int:
    if (kind := step.info["step"]["kind"]) not in KINDS:
        raise ValueError(f"a step's kind is {kind!r}; info['step']['kind'] must be one of {', '.join(KINDS)}")
    return KINDS.index(kind)


@dataclass(frozen=True, eq=False, slots=True)
class Tokens:
    """The rows that the model reads and has sampled; columns [N, T], log-probabilities in nats.

    A log-probability at position t belongs to the token `input_ids[:, t]`.
    """

    input_ids: Tensor = collated(torch.int64)
    attention_mask: Tensor = collated(torch.bool)
    """True where there is a token, False at padding."""
    position_ids: Tensor = collated(torch.int64)
    step_of_token: Tensor = collated(torch.int64)
    """Row of the steps table that sampled the token, -1 where the policy did not act."""
    old_logprobs: Tensor = collated(torch.float32)
    """Under the policy that sampled; 0 where the policy did not act."""
    student_logprobs: Tensor | None = filled(torch.float32)
    """Under the policy before the update, without hindsight."""
    teacher_logprobs: Tensor | None = filled(torch.float32)
    """Under the teacher, in the hindsight-enriched contexts."""
    ref_logprobs: Tensor | None = filled(torch.float32)
    """Under the reference policy, the anchor of the KL term."""

    def rows(self, index: slice | Tensor | tuple[Tensor, slice]) -> Tokens:
        """The same columns for some rows; `step_of_token` still points into the steps of the whole batch."""
        return replace(self, **{name: column[index] for name, column in columns(self)})


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """One row per interaction that the policy chose; columns [S], sorted by (episode, index)."""

    episode_of_step: Tensor = collated(torch.int64)
    index_in_episode: Tensor = collated(torch.int64)
    """Place of the step in its episode, growing by at least one; 1 is an episode's first action."""
    reward: Tensor = read(torch.float32, lambda before, step: step.reward)
    anchor: Tensor = read(torch.int64, lambda before, step: _key(before, "anchor"))
    """Hash of the observation the step acted on."""
    state: Tensor = read(torch.int64, lambda before, step: _key(before, "state"))
    """Hash of the simulator state the step acted on."""
    valid: Tensor = read(torch.bool, lambda before, step: step.info["step"]["valid"])
    """True where the environment accepted the action."""
    kind: Tensor = read(torch.int64, lambda before, step: _kind(step))
    """Position in `KINDS`."""
    next_anchor: Tensor | None = read(torch.int64, lambda before, step: _key(step, "anchor"), optional=True)
    """Hash of the observation that the step led to."""
    next_state: Tensor | None = read(torch.int64, lambda before, step: _key(step, "state"), optional=True)
    """Hash of the simulator state that the step led to."""
    penalty: Tensor | None = field(default=None, metadata={"dtype": torch.float32, "shaped": True})
    """Taken off the score of the step alone, and off its `reward`; None where the episode's return has it."""
    text_key: Tensor | None = filled(torch.int64, model=False)
    """Hash of what the episode's texts tell about the world before the step, as the task spec reads them."""
    next_text_key: Tensor | None = filled(torch.int64, model=False)
    """The same after the step."""
    lifted_distance: Tensor | None = filled(torch.int64, model=False)
    """Fewest steps to a goal, before the step, as attempts at tasks of its form show; -1: no path known."""
    next_lifted_distance: Tensor | None = filled(torch.int64, model=False)
    """The same after the step."""
    action_start: Tensor | None = read(
        torch.int64, lambda before, step: step.tokens.action_span[0], optional=True
    )
    """First token of the action, counted from the step's first sampled token."""
    action_end: Tensor | None = read(
        torch.int64, lambda before, step: step.tokens.action_span[1], optional=True
    )
    """One past the last token of the action, counted likewise."""
    value: Tensor | None = filled(torch.float32)
    """A critic's estimate, before the step, of the rewards from it on."""
    mc_value: Tensor | None = filled(torch.float32)
    """Mean sum of the rewards of fresh attempts that begin where the step was chosen."""
    optimal_distance: Tensor | None = reported(
        torch.int64, _DISTANCE, lambda before, step: before.info.get("optimal_distance")
    )
    """Fewest actions to the goal before the step; -2 where it cannot be reached."""
    gold_seen: Tensor | None = reported(torch.float32, _GOLD, lambda before, step: step.info.get("gold_seen"))
    """Share of the gold evidence seen once the step is done."""
    gold_answer_logprob: Tensor | None = filled(torch.float32)
    """Mean log-probability per token of the gold answer, if it were given instead of the step."""


@dataclass(frozen=True, eq=False, slots=True)
class Episodes:
    """One row per episode; columns [E]."""

    group_of_episode: Tensor = collated(torch.int64)
    """Episodes of one group played the same task; groups are numbered 0 to G-1."""
    episode_return: Tensor = read(torch.float32, lambda episode: episode.episode_return)
    success: Tensor = read(torch.bool, lambda episode: episode.success)
    num_steps: Tensor | None = read(torch.int64, lambda episode: episode.num_steps, optional=True)
    """Interactions of the record, those without sampled tokens included."""
    last_distance: Tensor | None = reported(
        torch.int64, _DISTANCE, lambda episode: episode.steps[-1].info.get("optimal_distance")
    )
    """`Steps.optimal_distance` after the last step."""
    first_gold_seen: Tensor | None = reported(
        torch.float32, _GOLD, lambda episode: episode.steps[0].info.get("gold_seen")
    )
    """`Steps.gold_seen` before the first step."""
    informed: Tensor | None = filled(torch.bool)
    """True where the teacher has read something that the student has not."""


Table = Tokens | Steps | Episodes
AnyTable = TypeVar("AnyTable", Tokens, Steps, Episodes)


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Tokens [N, T], steps [S] and episodes [E]; shapes and types are checked here, values by `audit`."""

    tokens: Tokens
    steps: Steps
    episodes: Episodes
    teacher_topk: TopK | None = filled(None)
    """The teacher's likeliest tokens at every action token."""
    inferred_transitions: Transitions | None = filled(None, model=False)
    """Transitions that no attempt took, inferred from those taken."""
    past: Past | None = filled(None, model=False)
    """Earlier updates' attempts at the same tasks."""
    own: Mapping[str, Tensor] = field(default_factory=dict)
    """Columns that are declared elsewhere, by `register_column`."""

    def __post_init__(self) -> None:
        """Refuse columns of the wrong shape or type, naming the column."""
        first = {name: next(columns(getattr(self, name)))[1] for name in ("tokens", "steps", "episodes")}
        for table, link in first.items():
            if link.dim() != (dims := 2 if table == "tokens" else 1):
                raise ValueError(
                    f"{table} columns have {dims} dimension(s), the first has {tuple(link.shape)}"
                )
            types = {spec.name: spec.metadata["dtype"] for spec in fields(getattr(self, table))}
            for name, column in columns(getattr(self, table)):
                _check_column(f"{table}.{name}", column, types[name], link)
        for name, column in self.own.items():
            spec = column_fields()[name].metadata
            _check_column(f"own[{name!r}]", column, spec["dtype"], first[spec["table"]])
        places, sampled = self.teacher_topk, int(self.action_mask.sum())
        if places is not None and len(places.ids) != sampled:
            raise ValueError(f"teacher_topk has {len(places.ids)} places for {sampled} action tokens")

    @property
    def action_mask(self) -> Tensor:
        """[N, T] bool, True at tokens the policy sampled."""
        return self.tokens.step_of_token >= 0

    @property
    def group_of_step(self) -> Tensor:
        """[S] group of the episode of every step."""
        return self.episodes.group_of_episode[self.steps.episode_of_step]

    @property
    def last_step(self) -> Tensor:
        """[S] bool, True at the last step of every episode."""
        episode = self.steps.episode_of_step
        return torch.cat([episode[1:] != episode[:-1], torch.ones_like(episode[:1], dtype=torch.bool)])

    @property
    def num_rows(self) -> int:
        """Rows of the tokens table, N."""
        return self.tokens.input_ids.shape[0]

    @property
    def num_steps(self) -> int:
        """Rows of the steps table, S."""
        return self.steps.episode_of_step.shape[0]

    @property
    def num_episodes(self) -> int:
        """Rows of the episodes table, E."""
        return self.episodes.group_of_episode.shape[0]

    def with_columns(self, **given: Tensor | TopK | Transitions | Past) -> Batch:
        """A batch with these columns put in, each in the table that has a column of its name.

        Raises:
            ValueError: no table has such a column, or it has the wrong shape.
            TypeError: it has the wrong type.
        """
        changed: dict[str, dict[str, Any]] = {}
        for name, column in given.items():
            changed.setdefault(owner(name), {})[name] = column
        of_batch, registered = changed.pop("", {}), {**self.own, **changed.pop("own", {})}
        tables = {table: replace(getattr(self, table), **new) for table, new in changed.items()}
        return replace(self, **tables, **of_batch, own=registered)

    def column(self, name: str) -> Any:
        """The column of this name, whichever table has it; None where it is not computed."""
        table = owner(name)
        return (
            self.own.get(name) if table == "own" else getattr(getattr(self, table) if table else self, name)
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Batch:
        """A batch on another device, or with its floating columns in another floating type."""

        def moved(table: AnyTable) -> AnyTable:
            return replace(table, **{name: _on(column, device, dtype) for name, column in columns(table)})

        return Batch(
            moved(self.tokens),
            moved(self.steps),
            moved(self.episodes),
            None if self.teacher_topk is None else self.teacher_topk.to(device, dtype),
            None if self.inferred_transitions is None else self.inferred_transitions.to(device),
            None if self.past is None else self.past.to(device, dtype),
            {name: _on(column, device, dtype) for name, column in self.own.items()},
        )


def column_fields() -> dict[str, Field[Any]]:
    """The declaration of every column, by its name; metadata has its type and where its values come from."""
    tables = (Tokens, Steps, Episodes, Batch)
    return {spec.name: spec for kind in tables for spec in fields(kind) if spec.metadata} | OWN


def owner(name: str) -> str:
    """The table of a batch that has a column of this name; "" for the batch itself, "own" for its `own`.

    Raises:
        ValueError: there is no such column.
    """
    if name in OWN:
        return "own"
    for table, kind in (("tokens", Tokens), ("steps", Steps), ("episodes", Episodes), ("", Batch)):
        if any(spec.name == name and spec.metadata for spec in fields(kind)):
            return table
    raise ValueError(f"no column {name!r}; a batch has {', '.join(sorted(column_fields()))}")


def columns(table: Table) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of every computed column."""
    for spec in fields(table):
        column = getattr(table, spec.name)
        if column is not None:
            yield spec.name, column


def _on(column: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    return column.to(device=device, dtype=dtype if column.is_floating_point() else None)


def _check_column(where: str, column: Tensor, dtype: torch.dtype, first: Tensor) -> None:
    """Raise unless a column has its declared type, and the shape and device of the first of its table."""
    if column.shape != first.shape:
        raise ValueError(f"{where} has shape {tuple(column.shape)}; its table needs {tuple(first.shape)}")
    if not (column.is_floating_point() if dtype.is_floating_point else column.dtype == dtype):
        kind = "a floating type" if dtype.is_floating_point else str(dtype)
        raise TypeError(f"{where} is {column.dtype}, must be {kind}: was another tensor passed in its place?")
    if column.device != first.device:
        raise ValueError(f"{where} is on {column.device}, the rest on {first.device}: use Batch.to(device)")
