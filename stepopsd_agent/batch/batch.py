"""The three linked tables every update works on: tokens, steps and episodes.

`N` rows of `T` tokens hold `S` steps of `E` episodes. A row may be a whole episode or a single step;
nothing that reads a batch can tell. `step_of_token` is the one owner of "which tokens did the policy
sample, and at which step": the action mask is derived from it, so mask and segmentation cannot disagree.

A column is declared once, in its field: type, meaning, and either how it is read off the records (`collate`
does that) or that `learner.columns.fill` computes it. None: not computed, which is not the same as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from stepopsd_agent.batch.parts import Past, TopK, Transitions
from stepopsd_envs.step_info import hash_number
from stepopsd_wrappers.episode import Step

KINDS = ("reset", "act", "search", "answer", "invalid")
"""Step kinds; the column `Steps.kind` holds positions in this tuple."""

_DISTANCE = "set env.oracle to true (stepopsd/ALFWorld-v0)"
_GOLD = "choose an environment that knows gold passages (stepopsd/SearchQA-v0)"


def _column(dtype: torch.dtype) -> Any:
    """A column that links the tables or belongs to the tokens; `collate` makes it."""
    return field(metadata={"dtype": dtype})


def _read(dtype: torch.dtype, read: Callable[..., Any], *, optional: bool = False) -> Any:
    """A column read off the records: a step's from the one before and its own, an episode's from its own."""
    default: Any = {"default": None} if optional else {}
    return field(metadata={"dtype": dtype, "read": read}, **default)


def _info(dtype: torch.dtype, remedy: str, read: Callable[..., Any]) -> Any:
    """A column of the infos that some environments report, others as None or -1, with a remedy for these."""
    return field(default=None, metadata={"dtype": dtype, "read": read, "remedy": remedy})


def _filled(dtype: torch.dtype | None) -> Any:
    """A column that `learner.columns.fill` computes, by its function ``fill_`` and the column's name."""
    return field(default=None, metadata={"dtype": dtype, "filled": True})


def _key(step: Step, name: str) -> int:
    return hash_number(step.info["step"][name])


def _kind(step: Step) -> int:
    if (kind := step.info["step"]["kind"]) not in KINDS:
        raise ValueError(f"a step's kind is {kind!r}; info['step']['kind'] must be one of {', '.join(KINDS)}")
    return KINDS.index(kind)


def _action_span(step: Step) -> tuple[int, int]:
    assert step.tokens is not None  # only steps with tokens become rows
    return step.tokens.action_span


@dataclass(frozen=True, eq=False, slots=True)
class Tokens:
    """The rows that the model reads and has sampled; columns [N, T], log-probabilities in nats.

    A log-probability at position t belongs to the token `input_ids[:, t]`.
    """

    input_ids: Tensor = _column(torch.int64)
    attention_mask: Tensor = _column(torch.bool)
    """True where there is a token, False at padding."""
    position_ids: Tensor = _column(torch.int64)
    step_of_token: Tensor = _column(torch.int64)
    """Row of the steps table that sampled the token, -1 where the policy did not act."""
    old_logprobs: Tensor = _column(torch.float32)
    """Under the policy that sampled; 0 where the policy did not act."""
    student_logprobs: Tensor | None = _filled(torch.float32)
    """Under the policy before the update, without hindsight."""
    teacher_logprobs: Tensor | None = _filled(torch.float32)
    """Under the teacher, in the hindsight-enriched contexts."""
    ref_logprobs: Tensor | None = _filled(torch.float32)
    """Under the reference policy, the anchor of the KL term."""

    def rows(self, index: slice | Tensor | tuple[Tensor, slice]) -> Tokens:
        """The same columns for some rows; `step_of_token` still points into the steps of the whole batch."""
        return replace(self, **{name: column[index] for name, column in columns(self)})


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """One row per interaction that the policy chose; columns [S], sorted by (episode, index)."""

    episode_of_step: Tensor = _column(torch.int64)
    index_in_episode: Tensor = _column(torch.int64)
    """Place of the step in its episode, growing by at least one; 1 is an episode's first action."""
    reward: Tensor = _read(torch.float32, lambda before, step: step.reward)
    anchor: Tensor = _read(torch.int64, lambda before, step: _key(before, "anchor"))
    """Hash of the observation the step acted on."""
    state: Tensor = _read(torch.int64, lambda before, step: _key(before, "state"))
    """Hash of the simulator state the step acted on."""
    valid: Tensor = _read(torch.bool, lambda before, step: step.info["step"]["valid"])
    """True where the environment accepted the action."""
    kind: Tensor = _read(torch.int64, lambda before, step: _kind(step))
    """Position in `KINDS`."""
    next_anchor: Tensor | None = _read(torch.int64, lambda before, step: _key(step, "anchor"), optional=True)
    """Hash of the observation that the step led to."""
    next_state: Tensor | None = _read(torch.int64, lambda before, step: _key(step, "state"), optional=True)
    """Hash of the simulator state that the step led to."""
    penalty: Tensor | None = field(default=None, metadata={"dtype": torch.float32, "shaped": True})
    """Taken off the score of the step alone, and off its `reward`; None where the episode's return has it."""
    text_key: Tensor | None = _filled(torch.int64)
    """Hash of what the episode's texts tell about the world before the step, as the task spec reads them."""
    next_text_key: Tensor | None = _filled(torch.int64)
    """The same after the step."""
    action_start: Tensor | None = _read(
        torch.int64, lambda before, step: _action_span(step)[0], optional=True
    )
    """First token of the action, counted from the step's first sampled token."""
    action_end: Tensor | None = _read(torch.int64, lambda before, step: _action_span(step)[1], optional=True)
    """One past the last token of the action, counted likewise."""
    value: Tensor | None = _filled(torch.float32)
    """A critic's estimate, before the step, of the rewards from it on."""
    mc_value: Tensor | None = _filled(torch.float32)
    """Mean sum of the rewards of fresh attempts that begin where the step was chosen."""
    optimal_distance: Tensor | None = _info(
        torch.int64, _DISTANCE, lambda before, step: before.info.get("optimal_distance")
    )
    """Fewest actions to the goal before the step; -2 where it cannot be reached."""
    gold_seen: Tensor | None = _info(torch.float32, _GOLD, lambda before, step: step.info.get("gold_seen"))
    """Share of the gold evidence seen once the step is done."""
    gold_answer_logprob: Tensor | None = _filled(torch.float32)
    """Mean log-probability per token of the gold answer, if it were given instead of the step."""


@dataclass(frozen=True, eq=False, slots=True)
class Episodes:
    """One row per episode; columns [E]."""

    group_of_episode: Tensor = _column(torch.int64)
    """Episodes of one group played the same task; groups are numbered 0 to G-1."""
    episode_return: Tensor = _read(torch.float32, lambda episode: episode.episode_return)
    success: Tensor = _read(torch.bool, lambda episode: episode.success)
    num_steps: Tensor | None = _read(torch.int64, lambda episode: episode.num_steps, optional=True)
    """Interactions of the record, those without sampled tokens included."""
    last_distance: Tensor | None = _info(
        torch.int64, _DISTANCE, lambda episode: episode.steps[-1].info.get("optimal_distance")
    )
    """`Steps.optimal_distance` after the last step."""
    first_gold_seen: Tensor | None = _info(
        torch.float32, _GOLD, lambda episode: episode.steps[0].info.get("gold_seen")
    )
    """`Steps.gold_seen` before the first step."""
    informed: Tensor | None = _filled(torch.bool)
    """True where the teacher has read something that the student has not."""


Table = Tokens | Steps | Episodes
AnyTable = TypeVar("AnyTable", Tokens, Steps, Episodes)


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Tokens [N, T], steps [S] and episodes [E]; shapes and types are checked here, values by `audit`."""

    tokens: Tokens
    steps: Steps
    episodes: Episodes
    teacher_topk: TopK | None = _filled(None)
    """The teacher's likeliest tokens at every action token."""
    inferred_transitions: Transitions | None = _filled(None)
    """Transitions that no attempt took, inferred from those taken."""
    past: Past | None = _filled(None)
    """What is kept of earlier updates' attempts at the same tasks."""

    def __post_init__(self) -> None:
        """Refuse columns of the wrong shape or type, naming the column."""
        _check_columns("tokens", self.tokens, self.tokens.input_ids.shape, 2)
        _check_columns("steps", self.steps, self.steps.episode_of_step.shape, 1)
        _check_columns("episodes", self.episodes, self.episodes.group_of_episode.shape, 1)
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
        changed: dict[str, dict[str, Any]] = {"tokens": {}, "steps": {}, "episodes": {}, "": {}}
        for name, column in given.items():
            changed[owner(name)][name] = column
        tables = {
            table: replace(getattr(self, table), **new) for table, new in changed.items() if table and new
        }
        return replace(self, **tables, **changed[""])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Batch:
        """A batch on another device, or with its floating columns in another floating type."""
        return Batch(
            _moved(self.tokens, device, dtype),
            _moved(self.steps, device, dtype),
            _moved(self.episodes, device, dtype),
            None if self.teacher_topk is None else self.teacher_topk.to(device, dtype),
            None if self.inferred_transitions is None else self.inferred_transitions.to(device),
            None if self.past is None else self.past.to(device, dtype),
        )


def column_fields() -> dict[str, Field[Any]]:
    """The declaration of every column, by its name; metadata has its type and where its values come from."""
    return {
        spec.name: spec for kind in (Tokens, Steps, Episodes, Batch) for spec in fields(kind) if spec.metadata
    }


def owner(name: str) -> str:
    """The table of a batch that has a column of this name; "" for a column of the batch itself.

    Raises:
        ValueError: there is no such column.
    """
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


def _moved(table: AnyTable, device: torch.device | str | None, dtype: torch.dtype | None) -> AnyTable:
    """Every column on `device`, the floating ones in `dtype`."""
    new = {
        name: column.to(device=device, dtype=dtype if column.is_floating_point() else None)
        for name, column in columns(table)
    }
    return replace(table, **new)


def _check_columns(name: str, table: Table, shape: torch.Size, dims: int) -> None:
    """Raise unless every column has this shape, its declared type, and the device of the first."""
    types = {spec.name: spec.metadata["dtype"] for spec in fields(table)}
    device = next(column.device for _, column in columns(table))
    if len(shape) != dims:
        raise ValueError(f"{name} columns have {dims} dimension(s), the first has shape {tuple(shape)}")
    for column_name, column in columns(table):
        where, wanted = f"{name}.{column_name}", types[column_name]
        if column.shape != shape:
            raise ValueError(f"{where} has shape {tuple(column.shape)}; all {name} must have {tuple(shape)}")
        same_type = column.is_floating_point() if wanted.is_floating_point else column.dtype == wanted
        if not same_type:
            kind = "a floating type" if wanted.is_floating_point else str(wanted)
            raise TypeError(
                f"{where} is {column.dtype}, must be {kind}: was another tensor passed in its place?"
            )
        if column.device != device:
            raise ValueError(f"{where} is on {column.device}, the rest on {device}: use Batch.to(device)")
