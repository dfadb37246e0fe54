"""From records of episodes, or from plain lists, to a batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import torch
from torch import Tensor

from stepopsd_agent.batch.anchors import similar_anchors
from stepopsd_agent.batch.batch import Batch, Episodes, Steps, Table, Tokens
from stepopsd_agent.config import PenaltyOn
from stepopsd_wrappers.episode import Episode, StepTokens

Row = dict[str, Any]
"""One row of a table: column names to values; for the tokens table to lists of one length."""
_UNKNOWN = (None, -1)
"""Values that stand for a fact that the environment does not tell."""


def collate(
    episodes: Sequence[Episode],
    pad_id: int = 0,
    *,
    anchor_similarity: float = 1.0,
    invalid_penalty: float = 0.0,
    invalid_penalty_on: PenaltyOn = "step",
) -> Batch:
    """The batch of these episodes, in their order; only steps with tokens become steps of the batch.

    A step whose tokens say `new_row` begins a row, any other continues the row before it, so the layout (a
    row per episode or a row per step) is the one that was sampled. Episodes of one (run, update, group)
    form a group. A column that some step or episode does not know is left out.

    Args:
        episodes: finished episodes without errors; failed ones are left out by the caller.
        pad_id: id put in `input_ids` beyond the end of a row; never read, as padding is masked.
        anchor_similarity: observations of a group that are at least so alike have the same `anchor`; at 1
            those that are equal.
        invalid_penalty: see `penalise_invalid`, likewise the next.
        invalid_penalty_on: where it falls.

    Raises:
        ValueError: an episode failed, has no tokens, is there twice, or plays another task than its group.
    """
    rows: list[Row] = []
    steps: list[Row] = []
    table: list[Row] = []
    seen: list[str] = []
    reached: list[str] = []
    groups = group_numbers(episodes)
    for number, (episode, group) in enumerate(zip(episodes, groups, strict=True)):
        first_row = len(rows)
        for index, tokens in sampled_steps(episode):
            if tokens.new_row or len(rows) == first_row:
                rows.append({"input_ids": [], "step_of_token": [], "old_logprobs": []})
            _extend(rows[-1], tokens, len(steps))
            before, after = episode.steps[index - 1], episode.steps[index]
            steps.append(
                {"episode_of_step": number, "index_in_episode": index, **_read(Steps, before, after)}
            )
            seen.append(before.observation)
            reached.append(after.observation)
        table.append({"group_of_episode": group, **_read(Episodes, episode)})
    if anchor_similarity != 1:
        places = [groups[step["episode_of_step"]] for step in steps]
        anchors = similar_anchors([*seen, *reached], [*places, *places], anchor_similarity)
        for step, *both in zip(steps, anchors[: len(steps)], anchors[len(steps) :], strict=True):
            step["anchor"], step["next_anchor"] = both
    batch = batch_from_lists(rows, _known(Steps, steps), _known(Episodes, table), pad_id)
    return penalise_invalid(batch, invalid_penalty, invalid_penalty_on)


def penalise_invalid(batch: Batch, penalty: float, on: PenaltyOn = "step") -> Batch:
    """Take ``penalty`` off the reward of every step the environment refused.

    On the "step", as verl-agent does with 0.1 where a success pays 10, its own score alone is lowered, by the
    column `penalty`: the others of its episode keep theirs. On the "episode" its return, and so the credit of
    every step, is. Records keep what the environment paid, and `success` is untouched.
    """
    if penalty == 0:
        return batch
    cost = penalty * (~batch.steps.valid).to(batch.steps.reward.dtype)
    batch = batch.with_columns(reward=batch.steps.reward - cost)
    if on == "step":
        return batch.with_columns(penalty=cost)
    paid = torch.zeros_like(batch.episodes.episode_return).index_add(0, batch.steps.episode_of_step, cost)
    return batch.with_columns(episode_return=batch.episodes.episode_return - paid)


def batch_from_lists(
    rows: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    episodes: Sequence[Mapping[str, Any]],
    pad_id: int = 0,
) -> Batch:
    """Build a batch from plain lists.

    Args:
        rows: per row `input_ids`, `step_of_token`, `old_logprobs` and, if computed, further columns of
            `Tokens`, as lists of one length. Rows are padded on the right to the longest; mask and
            positions are derived.
        steps: columns of `Steps`, an optional one for all steps or none.
        episodes: columns of `Episodes` likewise.
        pad_id: id beyond the end of a row.

    Raises:
        ValueError: a table is empty; a column is unknown, missing or given for some rows only.
    """
    if not rows or not steps or not episodes:
        got = f"{len(rows)} rows, {len(steps)} steps and {len(episodes)} episodes"
        raise ValueError(f"a batch needs at least one row, step and episode; got {got}")
    sizes = [len(row["input_ids"]) for row in rows]
    length = max(sizes)
    derived = {
        "attention_mask": torch.tensor([_padded([True] * size, length, False) for size in sizes]),
        "position_ids": torch.tensor([_padded(range(size), length, 0) for size in sizes]),
    }
    pads = {"input_ids": pad_id, "step_of_token": -1}
    given = [_padded_row(number, row, length, pads) for number, row in enumerate(rows)]
    return Batch(
        Tokens(**derived, **_tensors("rows", Tokens, given, derived=frozenset(derived))),
        Steps(**_tensors("steps", Steps, steps)),
        Episodes(**_tensors("episodes", Episodes, episodes)),
    )


def group_numbers(episodes: Sequence[Episode]) -> list[int]:
    """The group number of every episode.

    Raises:
        TypeError: one is no episode.
        ValueError: an episode is there twice, or plays another task than its group.
    """
    seen: set[tuple[str, int, int, int]] = set()
    groups: dict[tuple[str, int, int], tuple[int, str]] = {}
    numbers = []
    for episode in episodes:
        if not isinstance(episode, Episode):
            raise TypeError(f"episodes has {episode!r:.60}; give a list of Episodes, as rollout returns them")
        key = episode.group_key
        if (*key, episode.member) in seen:
            raise ValueError(
                f"{_name(episode)} is there twice: give the members of a group different numbers"
            )
        seen.add((*key, episode.member))
        number, task = groups.setdefault(key, (len(groups), episode.task_id))
        if task != episode.task_id:
            raise ValueError(f"{_name(episode)} is in a group that plays {task!r}: a group plays one task")
        numbers.append(number)
    return numbers


def sampled_steps(episode: Episode) -> Iterator[tuple[int, StepTokens]]:
    """Index and tokens of the steps that a policy sampled.

    Raises:
        ValueError: the episode cannot be trained on.
    """
    empty = True
    for index, step in enumerate(episode.steps):
        if step.error is not None:
            raise ValueError(
                f"{_name(episode)} failed at step {index} ({step.error}): leave it out of the batch"
            )
        if step.tokens is None:
            continue
        if index == 0:
            raise ValueError(
                f"{_name(episode)}: its reset carries tokens; tokens belong to the step they caused"
            )
        if not step.tokens.sampled_ids:
            raise ValueError(f"{_name(episode)}: step {index} sampled no token; a response has at least one")
        if empty and not step.tokens.new_row:
            raise ValueError(
                f"{_name(episode)}: step {index} is the first with tokens and must have new_row=True"
            )
        empty = False
        yield index, step.tokens
    if empty:
        raise ValueError(
            f"{_name(episode)} has no step with tokens: only a language model's episodes can be collated"
        )


def _name(episode: Episode) -> str:
    """The episode as errors name it."""
    identity = f"run {episode.run!r}, update {episode.update}, group {episode.group}, member {episode.member}"
    return f"episode ({identity}, task {episode.task_id!r})"


def _extend(row: Row, tokens: StepTokens, step: int) -> None:
    """Append the ids that were given, then the sampled ones as step `step`."""
    prompt, sampled = len(tokens.prompt_ids), len(tokens.sampled_ids)
    row["input_ids"] += [*tokens.prompt_ids, *tokens.sampled_ids]
    row["step_of_token"] += [*[-1] * prompt, *[step] * sampled]
    row["old_logprobs"] += [*[0.0] * prompt, *tokens.logprobs]


def _read(table: type[Steps | Episodes], *records: object) -> Row:
    """The columns of one row that are read off the records."""
    return {spec.name: spec.metadata["read"](*records) for spec in fields(table) if "read" in spec.metadata}


def _known(table: type[Steps | Episodes], rows: list[Row]) -> list[Row]:
    """The rows without columns that environments may leave untold and that some row does not know."""
    for spec in fields(table):
        if "remedy" in spec.metadata and any(row[spec.name] in _UNKNOWN for row in rows):
            for row in rows:
                del row[spec.name]
    return rows


def _padded(values: Sequence[Any], length: int, pad: Any) -> list[Any]:
    """The values with `pad` appended up to `length`."""
    return [*values, *[pad] * (length - len(values))]


def _padded_row(number: int, row: Mapping[str, Any], length: int, pads: Mapping[str, int]) -> Row:
    """The row's lists padded to `length`; raises if they differ in length before that."""
    size = len(row["input_ids"])
    for name, values in row.items():
        if len(values) != size:
            raise ValueError(f"rows[{number}]: {name} has length {len(values)}, input_ids {size}: align them")
    return {name: _padded(values, length, pads.get(name, 0.0)) for name, values in row.items()}


def _tensors(
    name: str, table: type[Table], rows: Sequence[Mapping[str, Any]], derived: frozenset[str] = frozenset()
) -> dict[str, Tensor]:
    """One tensor per column that the rows give; raises on an unknown, missing or half-given column."""
    specs = {spec.name: spec for spec in fields(table) if spec.name not in derived}
    for number, row in enumerate(rows):
        if unknown := sorted(set(row) - set(specs)):
            raise ValueError(f"{name}[{number}] has unknown column(s) {unknown}; known are {sorted(specs)}")
    tensors = {}
    for column, spec in specs.items():
        given = sum(column in row for row in rows)
        if given == len(rows):
            tensors[column] = torch.tensor([row[column] for row in rows], dtype=spec.metadata["dtype"])
        elif given or spec.default is MISSING:
            expected = "all" if spec.default is MISSING else "all or none"
            raise ValueError(f"{column!r} is given for {given} of {len(rows)} {name}; give it for {expected}")
    return tensors
