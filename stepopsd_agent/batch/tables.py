"""The columns of a batch: what each table holds, in which type, and how lists become columns.

Users meet these through `stepopsd_agent.batch`, which links the three tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor

KINDS = ("reset", "act", "search", "answer", "invalid")
"""Step kinds; the column `Steps.kind` holds positions in this tuple."""

_INT = {"dtype": torch.int64}
_BOOL = {"dtype": torch.bool}
_FLOAT = {"dtype": torch.float32}  # or any other floating type, see Batch.to


@dataclass(frozen=True, eq=False, slots=True)
class Tokens:
    """What the model reads and what it sampled; every column is [N, T], log-probabilities are in nats.

    A log-probability at position t belongs to the token `input_ids[:, t]`. A column that is None was not
    computed, which is not the same as zero.
    """

    input_ids: Tensor = field(metadata=_INT)
    attention_mask: Tensor = field(metadata=_BOOL)
    """True where there is a token, False at padding."""
    position_ids: Tensor = field(metadata=_INT)
    step_of_token: Tensor = field(metadata=_INT)
    """Row of the steps table that sampled the token, -1 where the policy did not act."""
    old_logprobs: Tensor = field(metadata=_FLOAT)
    """As sampled; 0 where the policy did not act."""
    student_logprobs: Tensor | None = field(default=None, metadata=_FLOAT)
    teacher_logprobs: Tensor | None = field(default=None, metadata=_FLOAT)
    ref_logprobs: Tensor | None = field(default=None, metadata=_FLOAT)

    def rows(self, index: slice | Tensor | tuple[Tensor, slice]) -> Tokens:
        """The same columns for some rows; `step_of_token` still points into the steps of the whole batch."""
        return replace(self, **{name: column[index] for name, column in columns(self)})


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """One row per interaction that the policy chose; every column is [S], sorted by (episode, index)."""

    episode_of_step: Tensor = field(metadata=_INT)
    index_in_episode: Tensor = field(metadata=_INT)
    """Place of the step in its episode, growing by at least one; 1 is an episode's first action."""
    reward: Tensor = field(metadata=_FLOAT)
    anchor: Tensor = field(metadata=_INT)
    """Hash of the observation the step acted on."""
    state: Tensor = field(metadata=_INT)
    """Hash of the simulator state the step acted on."""
    valid: Tensor = field(metadata=_BOOL)
    """True where the environment accepted the action."""
    kind: Tensor = field(metadata=_INT)
    """Position in `KINDS`."""
    action_start: Tensor | None = field(default=None, metadata=_INT)
    """First token of the action, counted from the step's first sampled token."""
    action_end: Tensor | None = field(default=None, metadata=_INT)
    """One past the last token of the action, counted likewise."""
    value: Tensor | None = field(default=None, metadata=_FLOAT)
    """A critic's estimate, before the step, of the rewards from it on."""
    mc_value: Tensor | None = field(default=None, metadata=_FLOAT)
    """Mean sum of the rewards of fresh attempts that begin where the step was chosen."""
    optimal_distance: Tensor | None = field(default=None, metadata=_INT)
    """Fewest actions to the goal before the step; -2 where it cannot be reached."""
    gold_seen: Tensor | None = field(default=None, metadata=_FLOAT)
    """Share of the gold evidence seen once the step is done."""
    gold_answer_logprob: Tensor | None = field(default=None, metadata=_FLOAT)
    """Mean log-probability per token of the gold answer, if it were given instead of the step."""


@dataclass(frozen=True, eq=False, slots=True)
class Episodes:
    """One row per episode; every column is [E]."""

    group_of_episode: Tensor = field(metadata=_INT)
    """Episodes of one group played the same task; groups are numbered 0 to G-1."""
    episode_return: Tensor = field(metadata=_FLOAT)
    success: Tensor = field(metadata=_BOOL)
    last_distance: Tensor | None = field(default=None, metadata=_INT)
    """`Steps.optimal_distance` after the last step."""
    first_gold_seen: Tensor | None = field(default=None, metadata=_FLOAT)
    """`Steps.gold_seen` before the first step."""
    informed: Tensor | None = field(default=None, metadata=_BOOL)
    """True where the teacher has read something that the student has not."""


class TokenRow(TypedDict):
    """One row for `Batch.from_lists`: lists of one length. Padding, mask and positions are derived."""

    input_ids: Sequence[int]
    step_of_token: Sequence[int]
    old_logprobs: Sequence[float]
    student_logprobs: NotRequired[Sequence[float]]
    teacher_logprobs: NotRequired[Sequence[float]]
    ref_logprobs: NotRequired[Sequence[float]]


class StepRow(TypedDict):
    """One step for `Batch.from_lists`; columns as in `Steps`, an optional one for all steps or none."""

    episode_of_step: int
    index_in_episode: int
    reward: float
    anchor: int
    state: int
    valid: bool
    kind: int
    action_start: NotRequired[int]
    action_end: NotRequired[int]
    value: NotRequired[float]
    mc_value: NotRequired[float]
    optimal_distance: NotRequired[int]
    gold_seen: NotRequired[float]
    gold_answer_logprob: NotRequired[float]


class EpisodeRow(TypedDict):
    """One episode for `Batch.from_lists`; columns as in `Episodes`."""

    group_of_episode: int
    episode_return: float
    success: bool
    last_distance: NotRequired[int]
    first_gold_seen: NotRequired[float]
    informed: NotRequired[bool]


@dataclass(frozen=True, eq=False, slots=True)
class TopK:
    """The likeliest tokens at some places and their log-probabilities, both [M, K].

    In a batch the M places are its action tokens, row by row.
    """

    ids: Tensor
    logprobs: Tensor

    def __post_init__(self) -> None:
        """Refuse what cannot belong together."""
        shapes = tuple(self.ids.shape), tuple(self.logprobs.shape)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or self.ids.dtype != torch.int64:
            raise ValueError(f"ids must be int64 and like the log-probabilities [M, K], got {shapes}")


def columns(table: Tokens | Steps | Episodes) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of every computed column."""
    for spec in fields(table):
        column = getattr(table, spec.name)
        if column is not None:
            yield spec.name, column


def moved(
    table: Tokens | Steps | Episodes, device: torch.device | str | None, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """Every column on `device`, the floating ones in `dtype`."""
    return {
        name: column.to(device=device, dtype=dtype if column.is_floating_point() else None)
        for name, column in columns(table)
    }


def check_columns(name: str, table: Tokens | Steps | Episodes, shape: torch.Size, dims: int) -> None:
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


def padded(values: Sequence[Any], length: int, pad: Any) -> list[Any]:
    """The values with `pad` appended up to `length`."""
    return [*values, *[pad] * (length - len(values))]


def padded_row(number: int, row: TokenRow, length: int, pads: Mapping[str, int]) -> dict[str, Any]:
    """The row's lists padded to `length`; raises if they differ in length before that."""
    lists: Mapping[str, Any] = row
    size = len(row["input_ids"])
    for name, values in lists.items():
        if len(values) != size:
            raise ValueError(f"rows[{number}]: {name} has length {len(values)}, input_ids {size}: align them")
    return {name: padded(values, length, pads.get(name, 0.0)) for name, values in lists.items()}


def tensors(
    name: str,
    table: type[Tokens | Steps | Episodes],
    rows: Sequence[Mapping[str, Any]],
    derived: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """One tensor per column that the rows give; raises on an unknown, missing or half-given column."""
    specs = {spec.name: spec for spec in fields(table) if spec.name not in derived}
    for number, row in enumerate(rows):
        if unknown := sorted(set(row) - set(specs)):
            raise ValueError(f"{name}[{number}] has unknown column(s) {unknown}; known are {sorted(specs)}")
    columns = {}
    for column, spec in specs.items():
        given = sum(column in row for row in rows)
        if given == len(rows):
            columns[column] = torch.tensor([row[column] for row in rows], dtype=spec.metadata["dtype"])
        elif given or spec.default is MISSING:
            wanted = "all" if spec.default is MISSING else "all or none"
            raise ValueError(f"{column!r} is given for {given} of {len(rows)} {name}; give it for {wanted}")
    return columns
