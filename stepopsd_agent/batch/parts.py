"""Parts of a batch that are no column of a table."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class TopK:
    """The likeliest tokens at some places and their log-probabilities (nats), both [M, K].

    In a batch the M places are its action tokens, row by row.
    """

    ids: Tensor
    logprobs: Tensor

    def __post_init__(self) -> None:
        """Refuse shapes that cannot belong together."""
        shapes = tuple(self.ids.shape), tuple(self.logprobs.shape)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or self.ids.dtype != torch.int64:
            raise ValueError(f"ids must be int64 and like the log-probabilities [M, K], got {shapes}")

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None = None) -> TopK:
        """The same on another device, the log-probabilities in another floating type."""
        return TopK(self.ids.to(device), self.logprobs.to(device, dtype))


@dataclass(frozen=True, eq=False, slots=True)
class Transitions:
    """Transitions between worlds of a group that no attempt took; columns are [M] int64.

    `before` and `after` are keys of worlds, as in the column `text_key`.
    """

    group: Tensor
    before: Tensor
    after: Tensor
    steps: Tensor
    """Length: 1 for a command, 0 where the world before counts as at least as good as the one after."""

    def __post_init__(self) -> None:
        """Refuse shapes and types that cannot belong together."""
        columns = [getattr(self, spec.name) for spec in fields(self)]
        if any(
            column.shape != self.group.shape or column.dtype != torch.int64 or column.dim() != 1
            for column in columns
        ):
            shapes = [tuple(column.shape) for column in columns]
            raise ValueError(f"the columns of Transitions must be int64 and of one shape [M], got {shapes}")

    def to(self, device: torch.device | str | None) -> Transitions:
        """The same on another device."""
        return Transitions(*(getattr(self, spec.name).to(device) for spec in fields(self)))


@dataclass(frozen=True, eq=False, slots=True)
class Past:
    """Earlier updates' attempts at the tasks of a batch: M different steps, K episodes.

    Columns are named as in `Steps` and `Episodes`, and have the same types. No tokens are among them: the
    past tells where steps led and what came of it, and is never learned from.
    """

    group_of_step: Tensor
    """[M] group of the batch that plays the task now."""
    won: Tensor
    """[M] bool, True where the step ended an episode with success."""
    group_of_episode: Tensor
    """[K] likewise, of the episodes of the latest earlier update that played the task."""
    episode_return: Tensor
    """[K] their returns, as that update saw them."""
    num_steps: Tensor
    """[K] int64, how many of their steps were sampled."""
    anchor: Tensor | None = None
    """[M] key before the step; None where this kind of key is not kept, and so for the others."""
    next_anchor: Tensor | None = None
    state: Tensor | None = None
    next_state: Tensor | None = None
    text_key: Tensor | None = None
    next_text_key: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse shapes and types that cannot belong together."""
        for spec in fields(self):
            column: Tensor | None = getattr(self, spec.name)
            if column is None:
                continue
            of_episodes = spec.name in ("group_of_episode", "episode_return", "num_steps")
            like = self.group_of_episode if of_episodes else self.group_of_step
            kind = {"won": "bool", "episode_return": "floating"}.get(spec.name, "int64")
            fits = column.is_floating_point() if kind == "floating" else str(column.dtype) == f"torch.{kind}"
            if not fits or column.dim() != 1 or column.shape != like.shape:
                got = f"{column.dtype} of shape {tuple(column.shape)}"
                raise ValueError(f"past.{spec.name} is {got}; it must be {kind} of shape {tuple(like.shape)}")

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None = None) -> Past:
        """The same on another device, the returns in another floating type."""
        columns = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        moved = {name: column.to(device) for name, column in columns.items() if column is not None}
        return Past(**{**moved, "episode_return": moved["episode_return"].to(dtype)})
