"""The three linked tables every update works on: tokens, steps and episodes.

`N` rows of `T` tokens hold `S` steps of `E` episodes. A row may be a whole episode or a single step;
nothing that reads a batch can tell. `step_of_token` is the one owner of "which tokens did the policy sample,
and at which step": the action mask is derived from it, so mask and segmentation cannot disagree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stepopsd_agent.tables import (
    KINDS,
    EpisodeRow,
    Episodes,
    StepRow,
    Steps,
    TokenRow,
    Tokens,
    check_columns,
    moved,
    padded,
    padded_row,
    tensors,
)
from stepopsd_wrappers.episode import Episode, Step, StepTokens

__all__ = ["KINDS", "Batch", "EpisodeRow", "Episodes", "StepRow", "Steps", "TokenRow", "Tokens", "collate"]


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Tokens [N, T], steps [S] and episodes [E]; shapes and types are checked here, values by `audit`."""

    tokens: Tokens
    steps: Steps
    episodes: Episodes

    def __post_init__(self) -> None:
        """Refuse columns of the wrong shape or type, naming the column."""
        check_columns("tokens", self.tokens, self.tokens.input_ids.shape, 2)
        check_columns("steps", self.steps, self.steps.episode_of_step.shape, 1)
        check_columns("episodes", self.episodes, self.episodes.group_of_episode.shape, 1)

    @property
    def action_mask(self) -> Tensor:
        """[N, T] bool, True at tokens the policy sampled."""
        return self.tokens.step_of_token >= 0

    @property
    def group_of_step(self) -> Tensor:
        """[S] group of the episode of every step."""
        return self.episodes.group_of_episode[self.steps.episode_of_step]

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

    def with_tokens(
        self,
        *,
        old_logprobs: Tensor | None = None,
        student_logprobs: Tensor | None = None,
        teacher_logprobs: Tensor | None = None,
        ref_logprobs: Tensor | None = None,
    ) -> "Batch":
        """A batch with these [N, T] columns of log-probabilities put in; None leaves a column as it is."""
        given = {
            "old_logprobs": old_logprobs,
            "student_logprobs": student_logprobs,
            "teacher_logprobs": teacher_logprobs,
            "ref_logprobs": ref_logprobs,
        }
        changed = {name: column for name, column in given.items() if column is not None}
        return replace(self, tokens=replace(self.tokens, **changed))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Batch":
        """A batch on another device, or with its floating columns in another floating type."""
        return Batch(
            replace(self.tokens, **moved(self.tokens, device, dtype)),
            replace(self.steps, **moved(self.steps, device, dtype)),
            replace(self.episodes, **moved(self.episodes, device, dtype)),
        )

    @staticmethod
    def from_lists(
        rows: Sequence[TokenRow], steps: Sequence[StepRow], episodes: Sequence[EpisodeRow], pad_id: int = 0
    ) -> "Batch":
        """Build a batch from plain lists; rows are padded on the right with `pad_id` to the longest."""
        if not rows or not steps or not episodes:
            got = f"{len(rows)} rows, {len(steps)} steps and {len(episodes)} episodes"
            raise ValueError(f"a batch needs at least one row, step and episode; got {got}")
        sizes = [len(row["input_ids"]) for row in rows]
        length = max(sizes)
        shared = {
            "attention_mask": torch.tensor([padded([True] * size, length, False) for size in sizes]),
            "position_ids": torch.tensor([padded(range(size), length, 0) for size in sizes]),
        }
        pads = {"input_ids": pad_id, "step_of_token": -1}
        given = [padded_row(number, row, length, pads) for number, row in enumerate(rows)]
        tokens = Tokens(**shared, **tensors("rows", Tokens, given, derived=frozenset(shared)))
        return Batch(
            tokens,
            Steps(**tensors("steps", Steps, steps)),
            Episodes(**tensors("episodes", Episodes, episodes)),
        )


def collate(episodes: Sequence[Episode], pad_id: int) -> Batch:
    """The batch of these episodes, in their order; only steps with tokens become steps of the batch.

    A step whose tokens say `new_row` begins a row, any other continues the row before it, so the layout (a
    row per episode or a row per step) comes out as it was sampled. Episodes of one (run, update, group) form
    a group.

    Args:
        episodes: finished episodes without errors; failed ones are left out by the caller.
        pad_id: id put in `input_ids` beyond the end of a row.

    Raises:
        ValueError: an episode failed, has no tokens, is there twice, or plays another task than its group.
    """
    rows: list[TokenRow] = []
    steps: list[StepRow] = []
    table: list[EpisodeRow] = []
    groups = _groups(episodes)
    for number, (episode, group) in enumerate(zip(episodes, groups, strict=True)):
        first_row = len(rows)
        for index, tokens in _sampled(episode):
            if tokens.new_row or len(rows) == first_row:
                rows.append({"input_ids": [], "step_of_token": [], "old_logprobs": []})
            _extend(rows[-1], tokens, len(steps))
            steps.append(_step_row(episode.steps[index - 1], episode.steps[index], tokens, number, index))
        table.append(
            {
                "group_of_episode": group,
                "episode_return": episode.episode_return,
                "success": episode.success,
            }
        )
    return Batch.from_lists(rows, _without_unknown_distance(steps), table, pad_id)


def _name(episode: Episode) -> str:
    """The episode as errors name it."""
    identity = f"run {episode.run!r}, update {episode.update}, group {episode.group}, member {episode.member}"
    return f"episode ({identity}, task {episode.task_id!r})"


def _groups(episodes: Sequence[Episode]) -> list[int]:
    """Group number of every episode; raises where the identities cannot be right."""
    seen: set[tuple[str, int, int, int]] = set()
    groups: dict[tuple[str, int, int], tuple[int, str]] = {}
    numbers = []
    for episode in episodes:
        key = (episode.run, episode.update, episode.group)
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


def _sampled(episode: Episode) -> Iterator[tuple[int, StepTokens]]:
    """Index and tokens of the steps that a policy sampled; raises if the episode cannot be trained on."""
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


def _extend(row: TokenRow, tokens: StepTokens, step: int) -> None:
    """Append the given ids, then the sampled ones as step `step`."""
    prompt, sampled = len(tokens.prompt_ids), len(tokens.sampled_ids)
    row["input_ids"] = [*row["input_ids"], *tokens.prompt_ids, *tokens.sampled_ids]
    row["step_of_token"] = [*row["step_of_token"], *[-1] * prompt, *[step] * sampled]
    row["old_logprobs"] = [*row["old_logprobs"], *[0.0] * prompt, *tokens.logprobs]


def _step_row(before: Step, step: Step, tokens: StepTokens, episode: int, index: int) -> StepRow:
    """One row of the steps table; `before` is the step whose observation was acted on."""
    seen: dict[str, Any] = before.info["step"]
    done: dict[str, Any] = step.info["step"]
    row: StepRow = {
        "episode_of_step": episode,
        "index_in_episode": index,
        "reward": step.reward,
        "anchor": _hash_to_int(seen["anchor"]),
        "state": _hash_to_int(seen["state"]),
        "valid": done["valid"],
        "kind": KINDS.index(done["kind"]),
        "action_start": tokens.action_span[0],
        "action_end": tokens.action_span[1],
    }
    if "optimal_distance" in before.info:
        row["optimal_distance"] = before.info["optimal_distance"]
    if "gold_seen" in step.info:
        row["gold_seen"] = step.info["gold_seen"]
    return row


def _hash_to_int(digits: str) -> int:
    """A 64-bit hash of 16 hexadecimal digits as the signed integer that a tensor can hold."""
    return int.from_bytes(bytes.fromhex(digits), "big", signed=True)


def _without_unknown_distance(steps: list[StepRow]) -> list[StepRow]:
    """The steps without `optimal_distance` unless every one knows it: None is not -1 (-2 is an answer)."""
    if all(step.get("optimal_distance", -1) != -1 for step in steps):
        return steps
    for step in steps:
        step.pop("optimal_distance", None)
    return steps
