"""The three linked tables every update works on: tokens, steps and episodes.

`N` rows of `T` tokens hold `S` steps of `E` episodes. A row may be a whole episode or a single step;
nothing that reads a batch can tell. `step_of_token` is the one owner of "which tokens did the policy sample,
and at which step": the action mask is derived from it, so mask and segmentation cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stepopsd_agent.batch.anchors import similar_anchors
from stepopsd_agent.batch.collate import episode_row, extend, group_numbers, sampled_steps, step_row, without
from stepopsd_agent.batch.tables import (
    KINDS,
    EpisodeRow,
    Episodes,
    StepRow,
    Steps,
    TokenRow,
    Tokens,
    TopK,
    check_columns,
    moved,
    padded,
    padded_row,
    tensors,
)
from stepopsd_wrappers.episode import Episode

__all__ = [
    "KINDS",
    "Batch",
    "EpisodeRow",
    "Episodes",
    "StepRow",
    "Steps",
    "TokenRow",
    "Tokens",
    "TopK",
    "collate",
]


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Tokens [N, T], steps [S] and episodes [E]; shapes and types are checked here, values by `audit`."""

    tokens: Tokens
    steps: Steps
    episodes: Episodes
    teacher_topk: TopK | None = None
    """The teacher's likeliest tokens at every action token; None when not computed."""

    def __post_init__(self) -> None:
        """Refuse columns of the wrong shape or type, naming the column."""
        check_columns("tokens", self.tokens, self.tokens.input_ids.shape, 2)
        check_columns("steps", self.steps, self.steps.episode_of_step.shape, 1)
        check_columns("episodes", self.episodes, self.episodes.group_of_episode.shape, 1)
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

    def with_steps(
        self,
        *,
        value: Tensor | None = None,
        mc_value: Tensor | None = None,
        gold_answer_logprob: Tensor | None = None,
    ) -> "Batch":
        """A batch with these [S] columns put in; None leaves a column as it is."""
        given = {"value": value, "mc_value": mc_value, "gold_answer_logprob": gold_answer_logprob}
        changed = {name: column for name, column in given.items() if column is not None}
        return replace(self, steps=replace(self.steps, **changed))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Batch":
        """A batch on another device, or with its floating columns in another floating type."""
        likely = self.teacher_topk
        return Batch(
            replace(self.tokens, **moved(self.tokens, device, dtype)),
            replace(self.steps, **moved(self.steps, device, dtype)),
            replace(self.episodes, **moved(self.episodes, device, dtype)),
            None if likely is None else TopK(likely.ids.to(device), likely.logprobs.to(device, dtype)),
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


def collate(episodes: Sequence[Episode], pad_id: int, *, anchor_similarity: float = 1.0) -> Batch:
    """The batch of these episodes, in their order; only steps with tokens become steps of the batch.

    A step whose tokens say `new_row` begins a row, any other continues the row before it, so the layout (a
    row per episode or a row per step) comes out as it was sampled. Episodes of one (run, update, group) form
    a group.

    Args:
        episodes: finished episodes without errors; failed ones are left out by the caller.
        pad_id: id put in `input_ids` beyond the end of a row.
        anchor_similarity: observations of a group that are at least so alike have the same `anchor`; at 1
            those that are equal.

    Raises:
        ValueError: an episode failed, has no tokens, is there twice, or plays another task than its group.
    """
    rows: list[TokenRow] = []
    steps: list[StepRow] = []
    table: list[EpisodeRow] = []
    seen: list[str] = []
    groups = group_numbers(episodes)
    for number, (episode, group) in enumerate(zip(episodes, groups, strict=True)):
        first_row = len(rows)
        for index, tokens in sampled_steps(episode):
            if tokens.new_row or len(rows) == first_row:
                rows.append({"input_ids": [], "step_of_token": [], "old_logprobs": []})
            extend(rows[-1], tokens, len(steps))
            steps.append(step_row(episode.steps[index - 1], episode.steps[index], tokens, number, index))
            seen.append(episode.steps[index - 1].observation)
        table.append(episode_row(episode, group))
    if anchor_similarity != 1:
        places = [groups[step["episode_of_step"]] for step in steps]
        for step, anchor in zip(steps, similar_anchors(seen, places, anchor_similarity), strict=True):
            step["anchor"] = anchor
    if any(step.get("optimal_distance", -1) == -1 for step in steps):
        steps, table = without(steps, "optimal_distance"), without(table, "last_distance")
    if any(step.get("gold_seen", -1.0) == -1.0 for step in steps):
        steps, table = without(steps, "gold_seen"), without(table, "first_gold_seen")
    return Batch.from_lists(rows, steps, table, pad_id)
